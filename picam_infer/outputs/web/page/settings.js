// Sliders for what may change while everything runs. The newest value wins; one request is under way at a time.

import { element, reconcile, write } from "./dom.js";
import { regionOf } from "./region.js";
import { ask } from "./server.js";

// `step` is what a key press or a drag moves by; a value that the server has is shown as it is, whatever the step.
const SLIDERS = [
  { key: "decide.threshold", text: "Threshold", min: 0, max: 1, step: 0.01, share: true },
  { key: "decide.smooth", text: "Smoothing", min: 0, max: 0.99, step: 0.01, share: true },
  { key: "preprocess.roi.size", text: "Region (share of the height)", min: 0.05, max: 1, step: 0.01, share: true },
  { key: "preprocess.canny.0", text: "Canny, strong edges", min: 0, max: 500, step: 5 },
  { key: "preprocess.canny.1", text: "Canny, edges joined to them", min: 0, max: 500, step: 5 },
];
const KEYS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };

const TITLES = { "decide.threshold": "Threshold", "decide.smooth": "Smoothing", "decide.margin": "Margin", "decide.hold": "Hold",
  "preprocess.roi": "Region", "preprocess.canny": "Canny", "capture.controls": "Camera" };

// Returns what the settings with these keys are called on the page: "Threshold, Canny".
export function titles(keys) {
  const title = (key) => TITLES[Object.keys(TITLES).find((known) => key === known || key.startsWith(`${known}.`))] ?? key;
  return [...new Set(keys.map(title))].join(", ");
}

export class Settings {
  constructor(box, undo, keep, note) {
    Object.assign(this, { box, undo, keep, note });
    this.live = null;
    this.rows = new Map();
    this.waiting = null; // what has been moved since the last request
    this.asking = 0;
    this.line = Promise.resolve();
    this.gestures = 0;
    undo.addEventListener("click", () => this.press(undo, () => ["api/config/undo", { id: this.live.undo.id }, "undone"]));
    keep.addEventListener("click", () => this.press(keep, () => ["api/config/keep", {}, "kept"]));
  }

  // Another run of the service counts its changes anew.
  forget() {
    this.live = null;
  }

  set(live) {
    if (this.asking || this.waiting || live.revision < (this.live?.revision ?? 0)) return;
    this.live = live;
    const [values, kept] = [leaves(live.values), leaves(live.kept)];
    const wanted = SLIDERS.filter(({ key }) => values.has(key));
    reconcile(this.box, wanted.map(({ key }) => key), (key) => this.makeRow(wanted.find((slider) => slider.key === key)));
    for (const { key } of wanted) {
      const row = this.rows.get(key);
      if (!row.dragging) row.show(values.get(key));
      row.box.classList.toggle("changed", kept.get(key) !== values.get(key));
    }
    write(this.undo, live.undo ? `Undo ${titles(live.undo.keys).toLowerCase()}` : "Undo");
    this.undo.setAttribute("aria-disabled", String(!live.undo));
    this.keep.setAttribute("aria-disabled", String(!live.can_keep || live.changed.length === 0));
    this.keep.title = live.can_keep ? `Write to ${live.file}` : "There is no configuration file: start with -c FILE";
  }

  makeRow(slider) {
    const id = `slider-${slider.key.replaceAll(".", "-")}`;
    const output = element("span", { className: "value" });
    output.setAttribute("aria-hidden", "true"); // the slider itself says it
    const input = element("input", { type: "range", id, step: "any" });
    input.dataset.key = slider.key;
    const box = element("div", { className: "slider" }, element("label", { htmlFor: id, textContent: slider.text }), output, input);
    const row = { box, dragging: false, gesture: "" };
    row.show = (value) => {
      Object.assign(input, { min: Math.min(slider.min, value), max: Math.max(slider.max, value) });
      input.value = value;
      write(output, slider.share ? `${tidy(value * 100)} %` : String(tidy(value)));
      input.setAttribute("aria-valuetext", output.textContent);
    };
    const move = (value) => {
      row.show(value);
      this.put({ [slider.key]: value }, row.gesture);
    };
    input.addEventListener("pointerdown", () => { row.gesture = this.newGesture(); });
    input.addEventListener("input", () => {
      row.dragging = true;
      move(snapped(Number(input.value), slider.step));
    });
    input.addEventListener("change", () => Object.assign(row, { dragging: false, gesture: "" }));
    input.addEventListener("keydown", (event) => {
      if (!(event.key in KEYS) || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      const value = tidy(Number(input.value) + KEYS[event.key] * slider.step);
      move(Math.min(Number(input.max), Math.max(Number(input.min), value)));
    });
    this.rows.set(slider.key, row);
    return box;
  }

  // Changes of one gesture are one entry of the history, however long it takes.
  newGesture() {
    this.gestures += 1;
    return `${performance.timeOrigin.toString(36)}-${this.gestures}`;
  }

  put(values, gesture) {
    this.waiting = { values: { ...this.waiting?.values, ...values }, gesture };
    this.flush();
  }

  async flush() {
    while (!this.asking && this.waiting) {
      const { values, gesture } = this.waiting;
      this.waiting = null;
      await this.send("PATCH", `api/config${gesture ? `?gesture=${encodeURIComponent(gesture)}` : ""}`, values, "");
    }
  }

  press(button, request) {
    if (button.getAttribute("aria-disabled") === "true") return;
    this.send("POST", ...request()).then(() => this.flush());
  }

  // Requests go out one after the other, in the order of the hand's.
  send(method, path, body, said) {
    this.asking += 1;
    this.line = this.line.then(() => this.request(method, path, body, said));
    return this.line;
  }

  async request(method, path, body, said) {
    let answer = null;
    try {
      answer = await ask(path, method, body);
      write(this.note, said);
    } catch (error) {
      write(this.note, error.message);
      // What was refused is not shown as if it were so.
      answer = await ask("api/config").catch(() => null);
    }
    this.asking -= 1;
    if (answer) this.set(answer);
  }
}

// Returns the single numbers in { "preprocess.canny": [90, 30] } by their own keys: "preprocess.canny.0" and so on.
export function leaves(values, prefix = "", found = new Map()) {
  for (const [key, given] of Object.entries(values ?? {})) {
    const value = prefix + key === "preprocess.roi" ? regionOf(given) : given;
    if (typeof value === "object" && value !== null) leaves(value, `${prefix}${key}.`, found);
    else found.set(prefix + key, value);
  }
  return found;
}

function snapped(value, step) {
  return tidy(Math.round(value / step) * step);
}

function tidy(value) {
  return Number(value.toFixed(4));
}
