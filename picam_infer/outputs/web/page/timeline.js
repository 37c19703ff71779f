// What was seen when, as coloured bands, and below them when a part was down.

import { element } from "./dom.js";
import { titles } from "./settings.js";
import { apart, clock, name, percent } from "./text.js";

const HEIGHT = 64;
const ROWS = 60;

export class Timeline {
  constructor(canvas, list) {
    this.canvas = canvas;
    this.list = list;
    this.minutes = 5;
    this.changes = [];
    this.recent = new Set(); // pictures that still exist, by the milliseconds of their moment
    this.really = null; // asks what a picture really shows
    this.offset = 0; // how many seconds the Pi's clock is ahead of this browser's
    new ResizeObserver(() => this.draw()).observe(canvas);
    for (const kind of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) matchMedia(kind).addEventListener("change", () => this.draw());
  }

  set(changes) {
    this.changes = changes.slice();
    this.list.replaceChildren();
    for (const change of this.changes.slice(-ROWS)) this.write(change);
    this.draw();
  }

  add(change) {
    this.changes.push(change);
    if (this.changes.length > 2000) this.changes.splice(0, 500);
    this.write(change);
  }

  write(change) {
    const moment = new Date(change.at * 1000);
    const time = element("time", { dateTime: moment.toISOString(), textContent: clock.format(moment) });
    const text = element("span", { textContent: sentence(change), className: change.kind === "lost" ? "lost" : "" });
    const item = element("li", {}, time, text);
    if (change.kind === "label") item.append(this.makeReally(change));
    this.list.prepend(item);
    while (this.list.children.length > ROWS) this.list.lastChild.remove();
  }

  makeReally({ at, label }) {
    const recent = String(Math.round(at * 1000));
    const button = element("button", { type: "button", className: "really", textContent: "Really …", title: "Say what this really was", hidden: !this.recent.has(recent) });
    button.setAttribute("aria-label", `This was really …, at ${clock.format(new Date(at * 1000))}`);
    button.dataset.recent = recent;
    button.addEventListener("click", () => this.really?.({ src: `teach/recent/${recent}`, was: label, body: { recent, use: true } }));
    return button;
  }

  // Takes the names of the pictures that still exist.
  follow(recent) {
    if (recent.length === this.recent.size && recent.every((one) => this.recent.has(one))) return;
    this.recent = new Set(recent);
    for (const button of this.list.querySelectorAll(".really")) button.hidden = !this.recent.has(button.dataset.recent);
  }

  draw() {
    const scale = window.devicePixelRatio || 1;
    const width = this.canvas.clientWidth;
    const [wide, high] = [Math.round(width * scale), Math.round(HEIGHT * scale)];
    if (this.canvas.width !== wide || this.canvas.height !== high) Object.assign(this.canvas, { width: wide, height: high });
    const pen = this.canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, HEIGHT);
    const now = Date.now() / 1000 + this.offset;
    const since = now - this.minutes * 60;
    const x = (at) => Math.max(0, ((at - since) / (now - since)) * width);
    const colours = palette(this.canvas);
    pen.textBaseline = "middle";
    pen.font = "600 12px system-ui, sans-serif";
    for (const stretch of this.stretches(now)) if (stretch.to >= since) this.drawStretch(pen, x, stretch, colours);
    pen.fillStyle = colours.lost;
    for (const { from, to, part } of this.losses(now)) {
      if (to < since) continue;
      pen.fillRect(x(from), 37, Math.max(2, x(to) - x(from)), 7);
      if (x(to) - x(from) > 90) pen.fillText(`no ${part}`, x(from) + 2, 54);
    }
    this.drawTicks(pen, x, since, now, colours);
  }

  // Unknown is a low band; a gap separates neighbours, whatever their colours.
  drawStretch(pen, x, { from, to, label }, colours) {
    const [left, wide] = [x(from), Math.max(1, x(to) - x(from))];
    const known = label !== null && label !== undefined;
    pen.fillStyle = known ? colours.label(label) : colours.unknown;
    pen.fillRect(left, known ? 0 : 22, wide > 3 ? wide - 1 : wide, known ? 34 : 12);
    if (pen.measureText(name(label)).width + 12 >= wide) return;
    pen.fillStyle = known ? colours.onLabel : colours.ink;
    pen.fillText(apart(name(label)), left + 6, known ? 17 : 11);
  }

  drawTicks(pen, x, since, now, colours) {
    const step = this.minutes <= 1 ? 15 : this.minutes <= 5 ? 60 : 180;
    pen.fillStyle = colours.ink;
    pen.font = "11px system-ui, sans-serif";
    for (let at = Math.ceil(since / step) * step; at < now; at += step) {
      pen.fillRect(x(at), 46, 1, 5);
      const text = new Date(at * 1000).toTimeString().slice(0, step < 60 ? 8 : 5);
      if (x(at) < this.canvas.clientWidth - 48) pen.fillText(text, x(at) + 3, 57);
    }
  }

  stretches(now) {
    const found = [];
    let open = null;
    for (const change of this.changes) {
      const ends = change.kind === "label" || change.kind === "paused" || (change.kind === "lost" && change.blocking);
      if (!ends) continue;
      if (open) found.push({ ...open, to: change.at });
      open = change.kind === "label" ? { from: change.at, label: change.label } : null;
    }
    if (open) found.push({ ...open, to: now });
    return found;
  }

  losses(now) {
    const open = new Map();
    const found = [];
    for (const change of this.changes) {
      if (change.kind === "lost" && !open.has(change.part)) open.set(change.part, change.at);
      if (change.kind === "found" && open.has(change.part)) {
        found.push({ part: change.part, from: open.get(change.part), to: change.at });
        open.delete(change.part);
      }
    }
    for (const [part, from] of open) found.push({ part, from, to: now });
    return found;
  }
}

function sentence(change) {
  if (change.kind === "label") return change.label === null ? "unknown" : change.said ? apart(change.said) : `${apart(change.label)} · ${percent(change.score)}`;
  if (change.kind === "lost") return `${change.title}: ${change.reason}`;
  if (change.kind === "found") return `${change.part} is back`;
  if (change.kind === "paused") return `paused by ${change.by}`;
  if (change.kind === "resumed") return `watching again, by ${change.by}`;
  if (change.kind === "tuning") return change.part ? `${titles(change.part.split(", "))} changed` : "settings changed";
  return change.reason || `${change.part || "engine"} changed`;
}

// The current colours. Each has a contrast of 3:1 to its background, and text on it 4.5:1. Forced colours of the system
// are used as they are.
export function palette(canvas) {
  const style = getComputedStyle(canvas);
  const [ink, lost] = [style.color, style.borderTopColor];
  if (matchMedia("(forced-colors: active)").matches) {
    return { ink, lost, unknown: ink, label: () => style.outlineColor, onLabel: style.backgroundColor };
  }
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const label = (text) => `oklch(${dark ? "0.74" : "0.48"} 0.12 ${hue(text)})`;
  return { ink, lost, unknown: ink, label, onLabel: dark ? "#0b0f13" : "#fff" };
}

function hue(text) {
  let hash = 7;
  for (const letter of text) hash = (hash * 31 + letter.codePointAt(0)) % 3600;
  return (hash * 137) % 360;
}
