// Sliders for what may change while everything runs. The newest value wins; one request is under way at a time.

const SLIDERS = [
  { key: "decide.threshold", text: "Threshold", min: 0, max: 1, step: 0.01, unit: "%" },
  { key: "decide.smooth", text: "Smoothing", min: 0, max: 0.95, step: 0.05, unit: "%" },
  { key: "preprocess.roi", text: "Region (share of the height)", min: 0.05, max: 1, step: 0.01, unit: "%" },
  { key: "preprocess.canny", index: 0, text: "Canny, strong edges", min: 0, max: 500, step: 5, unit: "" },
  { key: "preprocess.canny", index: 1, text: "Canny, edges joined to them", min: 0, max: 500, step: 5, unit: "" },
];

export class Settings {
  constructor(box, undo, keep, note, changed) {
    Object.assign(this, { box, undo, keep, note, changed });
    this.live = null;
    this.rows = [];
    this.waiting = {};
    this.busy = false;
    undo.addEventListener("click", () => this.send("POST", "/api/config/undo", {}, "undone"));
    keep.addEventListener("click", () => this.send("POST", "/api/config/keep", {}, "kept"));
  }

  set(live) {
    if (this.busy || Object.keys(this.waiting).length) return;
    this.live = live;
    const wanted = SLIDERS.filter(({ key }) => key in live.values);
    if (this.rows.length !== wanted.length) this.build(wanted);
    for (const row of this.rows) {
      const value = pick(live.values, row.slider);
      if (document.activeElement !== row.input || !row.dragging) row.input.value = value;
      row.show();
      row.box.classList.toggle("changed", pick(live.kept, row.slider) !== value);
    }
    this.undo.disabled = !live.can_undo;
    this.keep.disabled = !live.can_keep || live.changed.length === 0;
    this.keep.title = live.can_keep ? `Write to ${live.file}` : "There is no configuration file: start with -c FILE";
  }

  build(wanted) {
    this.rows = wanted.map((slider, number) => {
      const box = document.createElement("div");
      box.className = "slider";
      const label = document.createElement("label");
      label.htmlFor = `slider-${number}`;
      label.textContent = slider.text;
      const input = document.createElement("input");
      Object.assign(input, { type: "range", id: `slider-${number}`, min: slider.min, max: slider.max, step: slider.step });
      input.dataset.key = slider.key + (slider.index === undefined ? "" : `.${slider.index}`);
      const output = document.createElement("output");
      output.htmlFor = input.id;
      const show = () => {
        output.textContent = slider.unit ? `${Math.round(input.value * 100)} %` : Number(input.value).toString();
        input.setAttribute("aria-valuetext", output.textContent);
      };
      const row = { slider, box, input, show, dragging: false };
      input.addEventListener("input", () => {
        row.dragging = true;
        show();
        this.put(slider, Number(input.value));
      });
      input.addEventListener("change", () => { row.dragging = false; });
      box.append(label, output, input);
      return row;
    });
    this.box.replaceChildren(...this.rows.map(({ box }) => box));
  }

  put(slider, value) {
    if (slider.index === undefined) {
      const place = slider.key === "preprocess.roi" && typeof this.live.values[slider.key] === "object";
      this.waiting[place ? "preprocess.roi.size" : slider.key] = value;
    } else {
      const pair = (this.waiting[slider.key] ?? this.live.values[slider.key]).slice();
      pair[slider.index] = value;
      this.waiting[slider.key] = pair;
    }
    this.flush();
  }

  async flush() {
    while (!this.busy && Object.keys(this.waiting).length) {
      const values = this.waiting;
      this.waiting = {};
      await this.send("PATCH", "/api/config", values, "");
    }
  }

  async send(method, url, body, said) {
    this.busy = true;
    let answer = null;
    try {
      const response = await fetch(url, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal: AbortSignal.timeout(10000) });
      answer = await response.json();
      this.note.textContent = response.ok ? said : [answer.error, answer.hint].filter(Boolean).join("; ");
      if (!response.ok) answer = null;
    } catch (error) {
      this.note.textContent = "the Pi did not answer";
    }
    this.busy = false;
    if (answer) {
      this.set(answer);
      this.changed(answer);
    }
  }
}

function pick(values, slider) {
  const value = slider.key === "preprocess.roi" ? values?.[slider.key]?.size ?? values?.[slider.key] : values?.[slider.key];
  return slider.index === undefined ? value : value?.[slider.index];
}
