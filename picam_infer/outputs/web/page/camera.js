// The camera's own settings: exposure, focus, gain and so on, as the driver lists them.

import { element, reconcile } from "./dom.js";
import { Range, tidy } from "./range.js";
import { ask } from "./server.js";

const PAUSE_MS = 3000; // automatic modes change values by themselves

export class Camera {
  // `put({ key: value }, gesture)` sets live settings; `pending()` says whether some are still on their way.
  constructor(section, box, problems, put, pending) {
    Object.assign(this, { section, box, problems, put, pending });
    this.rows = new Map();
    this.details = section.querySelector("details");
    this.asked = -Infinity;
    this.details.addEventListener("toggle", () => this.look());
  }

  // Called with every state. While nobody looks, the camera is asked only once a minute.
  follow() {
    if (performance.now() - this.asked > (this.details.open ? PAUSE_MS : 20 * PAUSE_MS)) this.look();
  }

  async look() {
    this.asked = performance.now();
    const answer = await ask("api/controls").catch(() => null);
    if (answer && !this.pending()) this.show(answer);
  }

  show({ controls, problems }) {
    this.section.hidden = controls.length === 0;
    const known = new Map(controls.map((control) => [control.name, control]));
    reconcile(this.box, [...known.keys()], (name) => this.makeRow(known.get(name)));
    for (const control of controls) this.rows.get(control.name).update(control);
    reconcile(this.problems, [...new Set(problems)], (text) => element("li", { textContent: text }));
  }

  makeRow(control) {
    const make = control.kind === "menu" ? makeMenu : control.kind === "boolean" ? makeSwitch : makeRange;
    const id = `control-${control.name}`;
    const row = make(control, id, (value, gesture) => this.put({ [`capture.controls.${control.name}`]: value }, gesture));
    row.update = ({ value, inactive }) => {
      // Shown but disabled under an automatic mode, where setting a value would have no effect.
      row.input.disabled = inactive;
      row.box.classList.toggle("ruled", inactive);
      row.box.title = inactive ? "An automatic mode controls it now" : "";
      if (value !== null) row.show(value);
    };
    this.rows.set(control.name, row);
    return row.box;
  }
}

function makeRange({ title, minimum, maximum, step }, id, move) {
  return new Range({ id, key: id, text: title, min: minimum, max: maximum, step: step || 1, words: (value) => String(tidy(value)) }, move);
}

function makeSwitch({ title }, id, move) {
  const input = element("input", { type: "checkbox", id });
  input.addEventListener("change", () => move(input.checked ? 1 : 0, ""));
  const box = element("div", { className: "choice" }, element("label", { htmlFor: id, textContent: title }), input);
  return { box, input, show: (value) => { input.checked = value !== 0; } };
}

function makeMenu({ title, menu }, id, move) {
  const input = element("select", { id }, ...menu.map(({ value, text }) => element("option", { value: String(value), textContent: text })));
  input.addEventListener("change", () => move(Number(input.value), ""));
  const box = element("div", { className: "choice" }, element("label", { htmlFor: id, textContent: title }), input);
  return { box, input, show: (value) => { if (document.activeElement !== input) input.value = String(value); } };
}
