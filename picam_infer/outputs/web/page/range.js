// A slider that shows any value that it is given exactly; its step is only for key presses and dragging.

import { element, write } from "./dom.js";

const KEYS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
let gestures = 0;

// All changes of one gesture are one entry of the history, however long it takes.
export function newGesture() {
  gestures += 1;
  return `${performance.timeOrigin.toString(36)}-${gestures}`;
}

// `move(value, gesture)` is called when the visitor moves it; `words(value)` returns the value for people.
export class Range {
  constructor({ id, key, text, min, max, step, words }, move) {
    Object.assign(this, { min, max, step, words, move, dragging: false, gesture: "" });
    this.value = element("span", { className: "value" });
    this.value.setAttribute("aria-hidden", "true"); // the slider itself announces it
    this.input = element("input", { type: "range", id, step: "any" });
    this.input.dataset.key = key;
    this.box = element("div", { className: "slider" }, element("label", { htmlFor: id, textContent: text }), this.value, this.input);
    this.input.addEventListener("pointerdown", () => { this.gesture = newGesture(); });
    this.input.addEventListener("input", () => {
      this.dragging = true;
      this.moveTo(Math.round((Number(this.input.value) - min) / step) * step + min);
    });
    this.input.addEventListener("change", () => Object.assign(this, { dragging: false, gesture: "" }));
    this.input.addEventListener("keydown", (event) => this.press(event));
  }

  // Shows the value in force, except while it is being dragged.
  show(value) {
    if (!this.dragging) this.write(value);
  }

  write(value) {
    Object.assign(this.input, { min: Math.min(this.min, value), max: Math.max(this.max, value) });
    this.input.value = value;
    write(this.value, this.words(value));
    this.input.setAttribute("aria-valuetext", this.words(value));
  }

  moveTo(value) {
    const inside = tidy(Math.min(Number(this.input.max), Math.max(Number(this.input.min), value)));
    this.write(inside);
    this.move(inside, this.gesture);
  }

  press(event) {
    if (!(event.key in KEYS) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.moveTo(Number(this.input.value) + KEYS[event.key] * this.step);
  }
}

export function tidy(value) {
  return Number(value.toFixed(4));
}
