// What was seen when, as coloured stretches, and below them when a part was lost.

export const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export function name(label) {
  return label === null || label === undefined ? "unknown" : label;
}

// Keeps a name that is written from right to left from turning round what stands beside it.
export function apart(text) {
  return `\u2068${text}\u2069`;
}

export function colour(label, dark) {
  if (label === null || label === undefined) return dark ? "#55616d" : "#b4bec8";
  let hash = 7;
  for (const letter of label) hash = (hash * 31 + letter.codePointAt(0)) % 3600;
  return `hsl(${(hash * 137) % 360} 55% ${dark ? 58 : 44}%)`;
}

// Black or white, whichever is read more easily on what the pen is filled with.
function ink(pen) {
  const [red, green, blue] = pen.fillStyle.match(/\w\w/g).map((pair) => (parseInt(pair, 16) / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 ? "#0b0f13" : "#fff";
}

export class Timeline {
  constructor(canvas, list) {
    this.canvas = canvas;
    this.list = list;
    this.minutes = 5;
    this.changes = [];
    this.offset = 0; // seconds that the Pi's clock is ahead of this browser's
  }

  set(changes) {
    this.changes = changes.slice();
    this.list.replaceChildren();
    for (const change of this.changes.slice(-60)) this.write(change);
    this.draw();
  }

  add(change) {
    this.changes.push(change);
    if (this.changes.length > 2000) this.changes.splice(0, 500);
    this.write(change);
  }

  write(change) {
    if (change.kind === "tuning") return;
    const item = document.createElement("li");
    const time = document.createElement("time");
    time.dateTime = new Date(change.at * 1000).toISOString();
    time.textContent = clock.format(new Date(change.at * 1000));
    const text = document.createElement("span");
    if (change.kind === "label") {
      text.textContent = change.label === null ? "unknown" : `${apart(change.label)} · ${Math.floor(change.score * 100)} %`;
    } else if (change.kind === "lost") {
      text.textContent = `${change.part} lost: ${change.reason}`;
      text.className = "lost";
    } else {
      text.textContent = change.kind === "found" ? `${change.part} is back` : `${change.part || "engine"} changed`;
    }
    item.append(time, text);
    this.list.prepend(item);
    while (this.list.children.length > 60) this.list.lastChild.remove();
  }

  draw() {
    const scale = window.devicePixelRatio || 1;
    const width = this.canvas.clientWidth;
    const height = 64;
    if (this.canvas.width !== Math.round(width * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = height * scale;
    }
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const pen = this.canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const now = Date.now() / 1000 + this.offset;
    const since = now - this.minutes * 60;
    const x = (at) => Math.max(0, ((at - since) / (now - since)) * width);
    pen.font = "600 12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    for (const { from, to, label } of this.stretches(now)) {
      if (to < since) continue;
      pen.fillStyle = colour(label, dark);
      pen.fillRect(x(from), 0, Math.max(1, x(to) - x(from)), 34);
      if (pen.measureText(name(label)).width + 12 < x(to) - x(from)) {
        pen.fillStyle = ink(pen);
        pen.fillText(name(label), x(from) + 6, 17);
      }
    }
    pen.fillStyle = dark ? "#ff6b60" : "#b3261e";
    for (const { from, to, part } of this.losses(now)) {
      if (to >= since) pen.fillRect(x(from), 37, Math.max(2, x(to) - x(from)), 7);
      if (to >= since && x(to) - x(from) > 90) pen.fillText(`no ${part}`, x(from) + 2, 54);
    }
    this.ticks(pen, x, since, now, dark);
  }

  ticks(pen, x, since, now, dark) {
    const step = this.minutes <= 1 ? 15 : this.minutes <= 5 ? 60 : 180;
    pen.fillStyle = dark ? "#9fb0c0" : "#566473";
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
      const ends = change.kind === "label" || (change.kind === "lost" && change.part !== "display");
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
