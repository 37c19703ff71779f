// Sliders for the settings that may change while running. The newest value wins; one request is sent at a time.

import { reconcile, write } from "./dom.js";
import { Range, tidy } from "./range.js";
import { regionOf } from "./region.js";
import { ask } from "./server.js";
import { lasting } from "./text.js";

const SLIDERS = [
  { key: "decide.threshold", text: "Threshold", min: 0, max: 1, step: 0.01, share: true },
  { key: "decide.smooth", text: "Smoothing", min: 0, max: 0.99, step: 0.01, share: true },
  { key: "preprocess.roi.size", text: "Region (share of the height)", min: 0.05, max: 1, step: 0.01, share: true },
  { key: "preprocess.canny.0", text: "Canny, strong edges", min: 0, max: 500, step: 5 },
  { key: "preprocess.canny.1", text: "Canny, edges joined to them", min: 0, max: 500, step: 5 },
];

const TITLES = { "decide.threshold": "Threshold", "decide.smooth": "Smoothing", "decide.margin": "Margin", "decide.hold": "Hold",
  "preprocess.roi": "Region", "preprocess.canny": "Canny", "capture.controls": "Camera" };

// Returns the names on the page of the settings with these keys: "Threshold, Canny".
export function titles(keys) {
  const title = (key) => TITLES[Object.keys(TITLES).find((known) => key === known || key.startsWith(`${known}.`))] ?? key;
  return [...new Set(keys.map(title))].join(", ");
}

export class Settings {
  // `changed()` is called after each response.
  constructor({ box, undo, keep, note, unsaved }, changed) {
    Object.assign(this, { box, undo, keep, note, unsaved, changed });
    this.live = null;
    this.rows = new Map();
    this.waiting = []; // changes since the last request; each item can be undone on its own
    this.asking = 0;
    this.line = Promise.resolve();
    undo.addEventListener("click", () => this.press(undo, () => this.live?.undo && ["api/config/undo", { id: this.live.undo.id }, "undone"]));
    keep.addEventListener("click", () => this.press(keep, () => ["api/config/keep", {}, "saved"]));
  }

  // Another round of the service starts counting revisions again.
  forget() {
    this.live = null;
  }

  // Takes the server's settings, unless newer ones are known already.
  take(live) {
    if (live.revision < (this.live?.revision ?? 0)) return;
    this.live = live;
    if (!this.pending) this.show(live);
  }

  // Fetches the values in force, unless the visitor is ahead of the server.
  async refresh() {
    const answer = this.pending ? null : await ask("api/config").catch(() => null);
    if (answer && this.live) this.take(answer);
  }

  show(live) {
    const [values, kept] = [leaves(live.values), leaves(live.kept)];
    const wanted = SLIDERS.filter(({ key }) => values.has(key));
    reconcile(this.box, wanted.map(({ key }) => key), (key) => this.makeRow(wanted.find((slider) => slider.key === key)));
    for (const { key } of wanted) {
      const row = this.rows.get(key);
      row.show(values.get(key));
      row.box.classList.toggle("changed", kept.get(key) !== values.get(key));
    }
    write(this.undo, live.undo ? `Undo ${titles(live.undo.keys).toLowerCase()}` : "Undo");
    this.undo.setAttribute("aria-disabled", String(!live.undo));
    this.keep.setAttribute("aria-disabled", String(!live.can_keep || live.changed.length === 0));
    this.keep.title = live.can_keep ? `Write to ${live.file}` : "";
    this.unsaved.hidden = live.can_keep;
    write(this.unsaved, live.can_keep ? "" : `Settings that are changed here last ${lasting(false)} (start with -c FILE).`);
  }

  makeRow(slider) {
    const words = (value) => (slider.share ? `${tidy(value * 100)} %` : String(tidy(value)));
    const id = `slider-${slider.key.replaceAll(".", "-")}`;
    const row = new Range({ ...slider, id, words }, (value, gesture) => this.put({ [slider.key]: value }, gesture));
    this.rows.set(slider.key, row);
    return row.box;
  }

  // Whether the visitor is ahead of the server.
  get pending() {
    return this.asking > 0 || this.waiting.length > 0;
  }

  // Newer values replace those that wait, if both belong to the same change.
  put(values, gesture) {
    const last = this.waiting.at(-1);
    const one = last && (gesture ? last.gesture === gesture : !last.gesture && String(Object.keys(last.values)) === String(Object.keys(values)));
    if (one) Object.assign(last.values, values);
    else this.waiting.push({ values: { ...values }, gesture });
    this.flush();
  }

  async flush() {
    while (!this.asking && this.waiting.length > 0) {
      const { values, gesture } = this.waiting.shift();
      const path = `api/config${gesture ? `?gesture=${encodeURIComponent(gesture)}` : ""}`;
      await this.send("PATCH", () => [path, values, ""]);
    }
  }

  press(button, request) {
    if (button.getAttribute("aria-disabled") !== "true") this.send("POST", request).then(() => this.flush());
  }

  // Requests are sent one after the other; `request()` returns path, body and message when its turn comes.
  send(method, request) {
    this.asking += 1;
    this.line = this.line.then(() => this.ask(method, request()));
    return this.line;
  }

  async ask(method, request) {
    let answer = null;
    try {
      if (request) answer = await ask(request[0], method, request[1]);
      if (request) write(this.note, request[2]);
    } catch (error) {
      write(this.note, error.message);
      // A refused value must not stay on the slider.
      answer = await ask("api/config").catch(() => null);
    }
    this.asking -= 1;
    if (answer) this.take(answer);
    if (!this.pending) this.changed();
  }
}

// Returns the single numbers in { "preprocess.canny": [90, 30] } under keys of their own: "preprocess.canny.0" and so on.
export function leaves(values, prefix = "", found = new Map()) {
  for (const [key, given] of Object.entries(values ?? {})) {
    const value = prefix + key === "preprocess.roi" ? regionOf(given) : given;
    if (typeof value === "object" && value !== null) leaves(value, `${prefix}${key}.`, found);
    else found.set(prefix + key, value);
  }
  return found;
}
