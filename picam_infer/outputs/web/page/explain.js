// Explains the model's answer: a button below the picture, and the server's explanation.

import { at, element } from "./dom.js";
import { address, loggedOut } from "./server.js";
import { apart } from "./text.js";

const PATIENCE_MS = 90000; // a slow Pi has to load the model first
const ROWS = 8;

class Explained {
  constructor(view) {
    this.button = element("button", { id: "why", type: "button", textContent: "Why?", title: "What the network was given, and what in it counts" });
    this.button.setAttribute("aria-expanded", "false");
    this.button.setAttribute("aria-controls", "explained");
    this.place = element("section", { id: "explained", className: "card", hidden: true });
    this.place.setAttribute("aria-label", "Why");
    this.place.setAttribute("role", "status");
    view.querySelector(".row").append(this.button);
    at("seen").after(this.place); // below picture and label: it is wider than either
    this.urls = [];
    this.button.addEventListener("click", () => {
      if (!this.place.hidden) this.close();
      else if (this.button.getAttribute("aria-disabled") !== "true") this.open(); // else there is no picture: the page says why
    });
  }

  async open() {
    this.show(element("p", { className: "dim", textContent: "Asking the model; this takes a few seconds …" }));
    this.button.disabled = true;
    try {
      const init = { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}", signal: AbortSignal.timeout(PATIENCE_MS) };
      const response = await fetch(address("api/explain"), init);
      if (loggedOut(response)) return;
      const answer = await response.json();
      if (!response.ok) throw new Error([answer.error, answer.hint].filter(Boolean).join("; "));
      this.close(); // frees the old pictures before new ones are made
      this.show(...this.told(answer));
    } catch (error) {
      this.show(element("p", { className: "problem", textContent: error instanceof TypeError || error.name === "TimeoutError" ? "the Pi did not answer" : error.message }));
    }
    this.button.disabled = false;
  }

  close() {
    this.place.hidden = true;
    this.place.replaceChildren();
    for (const url of this.urls.splice(0)) URL.revokeObjectURL(url);
    this.button.setAttribute("aria-expanded", "false");
  }

  show(...children) {
    this.place.replaceChildren(element("h2", { textContent: "Why" }), ...children);
    this.place.hidden = false;
    this.place.scrollIntoView({ block: "nearest" });
    this.button.setAttribute("aria-expanded", "true");
  }

  told(answer) {
    const { input, numbers, box, picture, saliency } = answer;
    const pictures = element("div", { className: "row" },
      this.figure(answer.input_png, "What the network was given", "the network's input"),
      this.figure(answer.heat_png, `What speaks for ${saliency.label} (red) and against it (blue)`, `map of what speaks for ${saliency.label}`));
    const figures = element("ul", {}, ...[
      `picture ${picture.width}×${picture.height}; ${box.width}×${box.height} of it at ${box.x}, ${box.y} is looked at (fit: ${input.fit})`,
      `input ${input.shape.slice(1).join("×")}, ${input.layout}, ${input.colour}: ${scaled(input)}`,
      `numbers ${short(numbers.low)} … ${short(numbers.high)} of ${numbers.possible.map(short).join(" … ")} possible, mean ${numbers.mean.map(short).join(", ")}`,
      counts(saliency),
      `outputs are ${answer.reading === "softmax" ? "turned into probabilities by a softmax" : "used as they are"}`,
    ].map((line) => element("li", { textContent: line })));
    return [pictures, this.table(answer.outputs), figures];
  }

  table(outputs) {
    const cells = (kind, texts) => element("tr", {}, ...texts.map((text) => element(kind, { textContent: text, dir: "auto" })));
    return element("table", {},
      element("caption", { className: "hidden", textContent: "Outputs before and after interpretation" }),
      element("thead", {}, cells("th", ["Class", "Output", "Read as"])),
      element("tbody", {}, ...outputs.slice(0, ROWS).map(({ label, raw, score }) => cells("td", [label, short(raw), short(score)])),
        ...(outputs.length > ROWS ? [cells("td", [`… and ${outputs.length - ROWS} more`, "", ""])] : [])));
  }

  figure(png, caption, alt) {
    const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
    const url = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
    this.urls.push(url);
    return element("figure", {}, element("img", { src: url, alt, width: 224 }), element("figcaption", { className: "dim", textContent: caption, dir: "auto" }));
  }
}

// How numbers follow from pixels: "pixel × 0.00784 − 1".
function scaled({ scale, offset }) {
  const [factors, offsets] = [[scale].flat().map(short), [offset].flat().map(short)];
  const sign = offsets.every((one) => one <= 0) ? "−" : "+";
  const added = offsets.every((one) => one === 0) ? "" : ` ${sign} ${offsets.map((one) => (sign === "−" ? -one : one)).join(", ")}`;
  return `pixel × ${factors.join(", ")}${added}`;
}

// How much the reddest part counts: the map alone does not tell.
function counts({ label, drop }) {
  if (drop < 0.0005) return `no single part speaks for ${apart(label)}: covering one does not lower its score`;
  return `covering the reddest part lowers the score of ${apart(label)} by ${short(drop)}${drop < 0.05 ? ", which is little: no part decides alone" : ""}`;
}

function short(value) {
  return Number(value.toPrecision(3));
}

new Explained(at("view"));
