// The newest collected pictures.

import { element, reconcile } from "./dom.js";
import { address, ask } from "./server.js";
import { figure, name } from "./text.js";

const MOST = 24;

export class Gallery {
  // `really(question)` asks what a picture really shows; null: nothing can be taught here.
  constructor(section, list, empty, zip) {
    Object.assign(this, { section, list, empty, zip });
    this.really = null;
    this.stamp = "";
    this.busy = false;
  }

  // `report` is from the state; the list is fetched again only when it has changed.
  async follow(report) {
    this.section.hidden = !report;
    const stamp = report ? `${report.pictures} ${report.bytes}` : "";
    if (this.busy || stamp === this.stamp) return;
    this.busy = true;
    try {
      if (report) this.show((await ask(`api/kept?count=${MOST}`)).pictures);
      this.stamp = stamp;
    } catch (error) {
      console.debug(error); // retried with the next state
    }
    this.busy = false;
  }

  show(pictures) {
    this.empty.hidden = pictures.length > 0;
    this.zip.hidden = pictures.length === 0;
    const known = new Map(pictures.slice(0, MOST).map((picture) => [picture.name, picture]));
    reconcile(this.list, [...known.keys()], (file) => makeItem(known.get(file), (question) => this.really?.(question)));
  }
}

function makeItem({ name: file, label, score, unit, captured }, really) {
  const image = element("img", { loading: "lazy", src: address(`kept/thumbnail/${encodeURIComponent(file)}`), width: 160, height: 120 });
  image.alt = `${name(label)}, ${new Date(captured * 1000).toLocaleString()}`;
  const text = element("span", {}, element("span", { textContent: name(label), dir: "auto" }),
    element("span", { className: "percent", textContent: label === null ? "" : figure(score, unit) }));
  const button = element("button", { type: "button", className: "really", textContent: "Really …", title: "Say what this really was" });
  button.setAttribute("aria-label", `This was really …, of ${image.alt}`);
  button.addEventListener("click", () => really({ src: `kept/${encodeURIComponent(file)}`, was: label, body: { kept: file, use: true } }));
  return element("li", {}, element("a", { href: address(`kept/${encodeURIComponent(file)}`) }, image), text, button);
}
