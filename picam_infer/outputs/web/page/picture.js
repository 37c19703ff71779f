// The live picture with its box and label; it can be frozen and saved.

import { element } from "./dom.js";
import { part } from "./region.js";
import { apart, fileName, headline } from "./text.js";

const RATE_MS = 2000;
const SAME_S = 0.001; // results are given in milliseconds

export class Picture {
  // `seen()` returns what belongs to the newest picture: its result, its region.
  constructor(canvas, seen) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d", { alpha: false });
    this.seen = seen;
    this.boxes = true;
    this.frozen = false;
    this.shown = null; // { bitmap, jpeg, head, result, region, aspect }: `region` as `preprocess.roi`
    this.times = [];
  }

  // Takes a picture of the stream.
  take(bitmap, jpeg, head) {
    if (this.frozen) return bitmap.close();
    this.shown?.bitmap.close();
    this.shown = { bitmap, jpeg, head, ...this.seen() };
    const moment = performance.now();
    this.times = this.times.filter((then) => moment - then < RATE_MS).concat(moment);
    this.draw();
    this.canvas.dataset.pictures = Number(this.canvas.dataset.pictures || 0) + 1;
  }

  // Takes a result that arrives after its picture, even a frozen one; returns whether the drawing changes.
  judged(result) {
    if (!this.shown || !result || Math.abs(result.captured - Number(this.shown.head["x-timestamp"])) > SAME_S) return false;
    const before = this.shown.result;
    this.shown.result = result;
    const changed = !before || JSON.stringify(headline(before)) !== JSON.stringify(headline(result));
    if (changed) this.draw();
    return changed;
  }

  // Pictures a second that this page has drawn.
  get rate() {
    const moment = performance.now();
    return this.times.filter((then) => moment - then < RATE_MS).length / (RATE_MS / 1000);
  }

  draw() {
    if (!this.shown) return;
    const { canvas, pen } = this;
    const { bitmap } = this.shown;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      canvas.parentElement.style.setProperty("--ratio", bitmap.width / bitmap.height);
    }
    pen.drawImage(bitmap, 0, 0);
    const { region, aspect, result } = this.shown;
    if (this.boxes && region) this.drawBox(part(region, canvas.width, canvas.height, aspect), result);
  }

  drawBox({ x, y, across, down }, result) {
    const { pen, unit } = this;
    const tint = result && result.label !== null ? "#52d98b" : "#f6b657";
    pen.lineWidth = unit * 2;
    pen.strokeStyle = "rgba(0,0,0,.75)";
    pen.strokeRect(x, y, across, down);
    pen.lineWidth = unit;
    pen.strokeStyle = tint;
    pen.strokeRect(x, y, across, down);
    if (result) this.drawLabel(x, y, result, tint);
  }

  drawLabel(x, y, result, tint) {
    const { pen, unit } = this;
    const { width } = this.canvas;
    const size = unit * 8;
    pen.font = `600 ${size}px system-ui, sans-serif`;
    const { text: said, figure } = headline(result);
    const text = result.label === null ? "?" : this.shortened(said, figure && `  ${figure}`, width - size);
    const wide = pen.measureText(text).width + size;
    const [left, top] = [Math.max(0, Math.min(x, width - wide)), Math.max(0, y - size * 1.5)];
    pen.fillStyle = "rgba(12,16,20,.82)";
    pen.fillRect(left, top, wide, size * 1.4);
    pen.fillStyle = tint;
    pen.textBaseline = "middle";
    pen.fillText(text, left + size / 2, top + size * 0.74);
  }

  // The width of a line in the picture's pixels, so that it is the same on the screen for any picture size.
  get unit() {
    const { width, height, clientWidth } = this.canvas;
    return Math.max(2, Math.min(width, height) / 180, (1.6 * width) / (clientWidth || width));
  }

  // A name that is too wide for the picture ends in an ellipsis; its percentage stays.
  shortened(label, share, room) {
    const fits = (text) => this.pen.measureText(text).width <= room;
    if (fits(apart(label) + share)) return apart(label) + share;
    let letters = [...label];
    while (letters.length && !fits(`${apart(letters.join(""))}…${share}`)) letters = letters.slice(0, -1);
    return `${apart(letters.join(""))}…${share}`;
  }

  // Saves the picture that is shown, as the camera took it, named by its time and label.
  save() {
    if (!this.shown) return;
    const { jpeg, head, result } = this.shown;
    const captured = Number(head["x-timestamp"]) || Date.now() / 1000;
    const url = URL.createObjectURL(jpeg);
    element("a", { href: url, download: fileName(captured, result?.label) }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  }
}
