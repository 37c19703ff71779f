// The region that the network looks at: where it is, and moving it with the mouse, a finger or keys.

import { newGesture, tidy } from "./range.js";

const STEP = 0.02; // of the picture's height, as at the attached keyboard
const SMALLEST = 0.05;
const NEAR = 0.015; // so close to the middle it snaps to it
const MOVES = { ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0],
  "+": [0, 0, 1], "=": [0, 0, 1], PageUp: [0, 0, 1], "-": [0, 0, -1], _: [0, 0, -1], PageDown: [0, 0, -1] };

// Returns `preprocess.roi` as numbers: the middle in shares of width and height, the size in shares of the height.
export function regionOf(roi) {
  return typeof roi === "number" ? { x: 0.5, y: 0.5, size: roi } : roi;
}

// Returns the region in pixels, wholly inside the picture, computed as `Region` in openapi.json says.
// `aspect` is its width over its height; null: the picture's own.
export function part(roi, width, height, aspect = 1) {
  const { x, y, size } = regionOf(roi);
  const proportions = aspect ?? width / height;
  const high = Math.min(size * height, width / proportions);
  const whole = (length, room) => Math.max(2, Math.min(Math.round(length), room));
  const [across, down] = [whole(high * proportions, width), whole(high, height)];
  const at = (share, room, side) => Math.min(Math.max(Math.floor(share * room - side / 2 + 1e-6), 0), room - side);
  return { x: at(x, width, across), y: at(y, height, down), across, down };
}

// Returns the region moved wholly inside the picture; `relative`: the region's aspect ratio divided by the picture's.
function inside({ x, y, size }, relative) {
  const high = Math.min(Math.max(size, SMALLEST), 1, 1 / relative);
  const within = (at, half) => Math.min(Math.max(at, half), 1 - half);
  return { x: tidy(within(x, Math.min((high * relative) / 2, 0.5))), y: tidy(within(y, high / 2)), size: tidy(high) };
}

// The frame over the picture: dragging it moves it, dragging its corner changes its size.
export class RegionHandle {
  // `move(region, gesture)` is called when the visitor moves it.
  constructor(frame, canvas, move) {
    Object.assign(this, { frame, canvas, move });
    this.region = null; // what is shown
    this.aspect = 1; // its width over its height; null: the picture's own
    this.placed = ""; // the position that the frame has now
    this.held = null; // { corner, gesture, from, x, y } while it is being dragged
    frame.addEventListener("pointerdown", (event) => this.grab(event));
    frame.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, () => { this.held = null; });
    frame.addEventListener("keydown", (event) => this.press(event));
    new ResizeObserver(() => this.place()).observe(canvas);
  }

  // Shows the region in force; null: there is nothing to move.
  show(roi, aspect = 1) {
    this.frame.hidden = roi === null;
    if (roi === null || this.held) return;
    this.region = regionOf(roi);
    this.aspect = aspect;
    this.place();
  }

  // Where the picture is inside its canvas element, and how large, in CSS pixels.
  get picture() {
    const { width, height, clientWidth, clientHeight } = this.canvas;
    const scale = Math.min(clientWidth / width, clientHeight / height);
    return { left: (clientWidth - width * scale) / 2, top: (clientHeight - height * scale) / 2, scale };
  }

  place() {
    if (!this.region) return;
    const { width, height } = this.canvas;
    const { left, top, scale } = this.picture;
    const { x, y, across, down } = part(this.region, width, height, this.aspect);
    const placed = [left, top, scale, width, height, this.aspect, ...Object.values(this.region)].join();
    if (placed === this.placed) return;
    this.placed = placed;
    const { style } = this.frame;
    style.left = `${left + x * scale}px`;
    style.top = `${top + y * scale}px`;
    style.width = `${across * scale}px`;
    style.height = `${down * scale}px`;
    // A region as high as the picture leaves no room to scroll the page with a finger: it has to be tapped before it moves.
    this.frame.classList.toggle("large", down > 0.8 * height);
    const share = (value) => `${Math.round(value * 100)} %`;
    this.frame.setAttribute("aria-valuenow", String(Math.round(this.region.size * 100)));
    this.frame.setAttribute("aria-valuetext", `${share(this.region.size)} of the height, middle at ${share(this.region.x)}, ${share(this.region.y)}`);
  }

  grab(event) {
    if (event.button !== 0) return;
    this.frame.setPointerCapture(event.pointerId);
    const corner = event.target !== this.frame;
    this.held = { corner, gesture: newGesture(), from: this.seen(), x: event.clientX, y: event.clientY };
  }

  drag(event) {
    if (!this.held) return;
    const { corner, gesture, from, x, y } = this.held;
    const { scale } = this.picture;
    const [width, height] = [this.canvas.width * scale, this.canvas.height * scale];
    const [right, down] = [event.clientX - x, event.clientY - y];
    // The opposite corner stays where it is.
    const proportions = this.relative * (width / height);
    const high = from.size * height;
    const room = Math.min((width - from.x * width) / proportions, height - from.y * height) - high / 2;
    const grown = Math.min(Math.max(right / proportions, down, SMALLEST * height - high), room);
    const middle = (at) => (Math.abs(at - 0.5) < NEAR ? 0.5 : at);
    this.change(corner ? { x: from.x + (grown * proportions) / 2 / width, y: from.y + grown / 2 / height, size: from.size + grown / height }
      : { ...from, x: middle(from.x + right / width), y: middle(from.y + down / height) }, gesture);
  }

  press(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || !(event.key in MOVES || event.key === "Home")) return;
    event.preventDefault();
    const { width, height } = this.canvas;
    const [right, down, larger] = MOVES[event.key] ?? [0, 0, 0];
    const from = event.key === "Home" ? { ...this.seen(), x: 0.5, y: 0.5 } : this.seen();
    this.change({ x: from.x + (right * STEP * height) / width, y: from.y + down * STEP, size: from.size + larger * STEP }, "");
  }

  // The region's aspect ratio divided by the picture's.
  get relative() {
    return this.aspect === null ? 1 : this.aspect / (this.canvas.width / this.canvas.height);
  }

  // The region as it is drawn, which may be further inside than its numbers say.
  seen() {
    const { width, height } = this.canvas;
    const { x, y, across, down } = part(this.region, width, height, this.aspect);
    const drawn = { x: (x + across / 2) / width, y: (y + down / 2) / height, size: down / height };
    const close = (name, room) => (Math.abs(this.region[name] - drawn[name]) < room ? this.region[name] : drawn[name]);
    return { x: close("x", 1 / width), y: close("y", 1 / height), size: close("size", 1 / height) };
  }

  change(wanted, gesture) {
    const region = inside(wanted, this.relative);
    if (JSON.stringify(region) === JSON.stringify(this.region)) return;
    this.region = region;
    this.place();
    this.move(region, gesture);
  }
}
