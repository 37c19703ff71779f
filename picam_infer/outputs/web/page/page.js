// Ties the page together: the picture, what is seen, the figures, the timeline, the settings, the kept pictures.

import { PictureStream } from "./stream.js";
import { Settings } from "./settings.js";
import { Timeline, apart, clock, name } from "./timeline.js";

const at = (id) => document.getElementById(id);
const canvas = at("picture");
const pen = canvas.getContext("2d", { alpha: false });
const timeline = new Timeline(at("timeline"), at("changes"));
const settings = new Settings(at("sliders"), at("undo"), at("keep"), at("kept-note"), () => {});

const now = { state: null, result: null, connected: false, cut: false, full: false, heard: 0, paused: false, drawn: [], said: "", saidAt: 0 };
const SILENT_MS = 6000; // the Pi says something every second

// -- picture ---------------------------------------------------------------

function draw(bitmap) {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  pen.drawImage(bitmap, 0, 0);
  if (at("boxes").checked) overlay();
  const moment = performance.now();
  now.drawn = now.drawn.filter((then) => moment - then < 2000).concat(moment);
  canvas.dataset.pictures = Number(canvas.dataset.pictures || 0) + 1;
}

function overlay() {
  const live = now.state?.live?.values;
  const roi = settings.live?.values?.["preprocess.roi"] ?? live?.["preprocess.roi"];
  if (roi === undefined) return;
  const { width, height } = canvas;
  const [x, y, side] = square(roi, width, height);
  const unit = Math.max(2, Math.min(width, height) / 180, (1.6 * width) / (canvas.clientWidth || width));
  const known = now.result && now.result.label !== null;
  const tint = known ? "#52d98b" : "#f6b657";
  pen.lineWidth = unit * 2;
  pen.strokeStyle = "rgba(0,0,0,.75)";
  pen.strokeRect(x, y, side, side);
  pen.lineWidth = unit;
  pen.strokeStyle = tint;
  pen.strokeRect(x, y, side, side);
  if (!now.result) return;
  const size = unit * 8;
  pen.font = `600 ${size}px system-ui, sans-serif`;
  const text = known ? shortened(now.result.label, `  ${Math.floor(now.result.score * 100)} %`, width - size) : "?";
  const wide = pen.measureText(text).width + size;
  const [left, top] = [Math.min(x, width - wide), Math.max(0, y - size * 1.5)];
  pen.fillStyle = "rgba(12,16,20,.82)";
  pen.fillRect(left, top, wide, size * 1.4);
  pen.fillStyle = tint;
  pen.textBaseline = "middle";
  pen.fillText(text, left + size / 2, top + size * 0.74);
}

// Where the network looks, in pixels: the same sum as `Region` in openapi.json has.
function square(roi, width, height) {
  const { x, y, size } = typeof roi === "number" ? { x: 0.5, y: 0.5, size: roi } : roi;
  const side = Math.max(2, Math.min(Math.round(size * height), width, height));
  const at = (share, whole) => Math.min(Math.max(Math.floor(share * whole - side / 2 + 1e-6), 0), whole - side);
  return [at(x, width), at(y, height), side];
}

// A name that is too wide for the picture ends in an ellipsis; its percentage stays.
function shortened(label, percent, room) {
  let letters = [...label];
  if (pen.measureText(apart(label) + percent).width <= room) return apart(label) + percent;
  while (letters.length && pen.measureText(`${apart(letters.join(""))}…${percent}`).width > room) letters = letters.slice(0, -1);
  return `${apart(letters.join(""))}…${percent}`;
}

const stream = new PictureStream("/stream.mjpg?raw=1", draw, () => location.reload());

function follow() {
  if (document.hidden || now.paused) stream.stop();
  else stream.start();
}

// -- what is seen ----------------------------------------------------------

function showResult(result) {
  now.result = result;
  const label = at("label");
  label.textContent = result ? name(result.label) : "–";
  label.className = result ? (result.label === null ? "unknown" : "") : "stale";
  label.dataset.size = label.textContent.length > 36 ? "small" : label.textContent.length > 12 ? "medium" : "large";
  const threshold = settings.live?.values?.["decide.threshold"] ?? 0;
  const bars = at("bars");
  const top = result ? result.top : [];
  while (bars.children.length < top.length) bars.append(bar());
  while (bars.children.length > top.length) bars.lastChild.remove();
  top.forEach(({ label: text, score }, number) => {
    const item = bars.children[number];
    item.querySelector(".name").textContent = text;
    item.querySelector(".percent").textContent = `${Math.floor(score * 100)} %`;
    item.querySelector("i").style.transform = `scaleX(${score})`;
    item.querySelector("b").style.left = `${threshold * 100}%`;
  });
  say(result ? name(result.label) : "nothing");
}

function bar() {
  const item = document.createElement("li");
  for (const [tag, kind] of [["span", "name"], ["span", "percent"], ["span", "bar"]]) {
    const part = document.createElement(tag);
    part.className = kind;
    item.append(part);
  }
  item.firstChild.dir = "auto";
  item.lastChild.append(document.createElement("i"), document.createElement("b"));
  item.lastChild.setAttribute("aria-hidden", "true");
  return item;
}

// A screen reader is told of a label only when it has lasted: one that flickers would talk without end.
function say(label) {
  if (label !== now.said) Object.assign(now, { said: label, saidAt: performance.now() });
  else if (performance.now() - now.saidAt > 1500 && at("said").textContent !== label) at("said").textContent = label;
}

// -- figures ---------------------------------------------------------------

function span(seconds) {
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  return days ? `${days} d ${hours} h` : hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min` : `${Math.floor(seconds)} s`;
}

function showState(state) {
  if (now.state && now.state.version !== state.version) location.reload(); // this page is the old program's
  now.state = state;
  timeline.offset = state.now - Date.now() / 1000;
  settings.set(state.live);
  at("model").textContent = [state.model, state.source].filter(Boolean).join(" · ");
  at("version").textContent = `picam-infer ${state.version}`;
  const { result, machine, picture } = state;
  const watchers = state.web ? state.web.clients.raw + state.web.clients.drawn : 0;
  const numbers = [
    ["Engine", state.engine || "–"],
    ["Note", state.notice || null],
    ["Camera", picture ? `${picture.width} × ${picture.height}, ${Math.round(state.frames_per_s)} fps` : "–"],
    ["Results", `${Math.round(state.inferences_per_s)} a second`],
    ["One inference", result ? `${result.infer_ms.toFixed(1)} ms` : "–"],
    ["Sensor to result", result ? `${result.age_ms.toFixed(0)} ms` : "–"],
    ["Temperature", machine.temperature_c === null ? null : `${machine.temperature_c.toFixed(0)} °C`],
    ["Stick", state.stick_c ? `${state.stick_c.toFixed(0)} °C` : null],
    ["Memory", machine.memory_mb === null ? null : `${machine.memory_mb.toFixed(0)} MB`],
    ["Monitor", state.display || "none"],
    ["Damaged pictures", state.bad_frames || null],
    ["Flawed pictures", state.flawed_frames || null],
    ["Watching", String(watchers)],
    ["Running for", span(state.uptime_s)],
    ...(state.events || []).map((outlet) => [outlet.name, outlet.reason || outlet.note || `${outlet.sent} sent`]),
  ].filter(([, value]) => value !== null);
  at("numbers").replaceChildren(...numbers.flatMap(([term, value]) => {
    const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
    dt.textContent = term;
    dd.textContent = value;
    return [dt, dd];
  }));
  at("findings").replaceChildren(...machine.findings.map(({ what, remedy }) => {
    const item = document.createElement("li");
    item.textContent = `${what}: ${remedy}`;
    return item;
  }));
  showHealth();
}

function showHealth() {
  const loss = now.state?.lost.find(({ part }) => part !== "display");
  const stale = now.state?.picture && now.state.picture.age_s > Math.max(5, now.state.patience_s);
  let card = null;
  if (!now.connected && now.full) card = { title: "too many watchers", reason: "the Pi serves no more at once", hint: "close another page of it, or raise web.max_clients" };
  else if (!now.connected) card = { title: "no connection to the Pi", reason: "it is off, restarting, or the network is down", hint: "this page goes on by itself" };
  else if (loss) card = { title: `${loss.part} lost`, reason: loss.reason, hint: loss.hint, since: loss.since };
  else if (stale) card = { title: "no picture", reason: `the last one is ${Math.round(now.state.picture.age_s)} s old`, hint: "" };
  else if (now.state && !now.state.picture) card = { title: "starting", reason: "", hint: "waiting for the first picture" };
  const placard = at("placard");
  placard.hidden = card === null;
  if (card) {
    const foot = card.since ? `since ${clock.format(new Date(card.since * 1000))}, still looking for it` : "";
    const texts = { h2: card.title, ".reason": card.reason, ".hint": card.hint, ".foot": foot };
    for (const [part, text] of Object.entries(texts)) {
      const element = placard.querySelector(part);
      if (element.textContent !== text) element.textContent = text;
    }
  }
  const pill = at("health");
  const word = card ? card.title : "live";
  if (pill.textContent !== word) pill.textContent = word;
  pill.className = `pill ${card ? "bad" : "good"}`;
  document.title = card ? `${card.title} – picam-infer` : `${name(now.result?.label)} – picam-infer`;
}

// -- kept pictures ---------------------------------------------------------

async function showKept() {
  if (document.hidden) return;
  const response = await fetch("/api/kept").catch(() => null);
  if (!response?.ok) return;
  const { on, pictures } = await response.json();
  at("kept").hidden = !on;
  at("kept-empty").hidden = pictures.length > 0;
  at("zip").hidden = pictures.length === 0;
  const gallery = at("gallery");
  const names = pictures.slice(0, 24).map(({ name: file }) => file).join();
  if (gallery.dataset.names === names) return;
  gallery.dataset.names = names;
  gallery.replaceChildren(...pictures.slice(0, 24).map(({ name: file, label, score, captured }) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = `/kept/${file}`;
    const image = document.createElement("img");
    image.loading = "lazy";
    image.src = link.href;
    image.alt = `${name(label)}, ${new Date(captured * 1000).toLocaleString()}`;
    const text = document.createElement("span");
    const [what, how] = [document.createElement("span"), document.createElement("span")];
    what.textContent = name(label);
    what.dir = "auto";
    how.textContent = label === null ? "" : `${Math.floor(score * 100)} %`;
    text.append(what, how);
    link.append(image);
    item.append(link, text);
    return item;
  }));
}

// -- news ------------------------------------------------------------------

let source = null;

function listen() {
  source = new EventSource("/api/events");
  now.heard = performance.now();
  const on = (kind, act) => source.addEventListener(kind, (event) => {
    now.heard = performance.now();
    act(JSON.parse(event.data));
  });
  source.onopen = () => {
    if (now.cut) stream.stop(); // it may hang on a connection that is no more
    Object.assign(now, { connected: true, cut: false, full: false });
    follow();
    showHealth();
  };
  source.onerror = () => {
    cut();
    // A browser gives up after an answer that is no stream (an expired login, too many watchers).
    if (source.readyState === EventSource.CLOSED) setTimeout(again, 3000);
  };
  on("history", ({ changes }) => timeline.set(changes));
  on("change", (change) => timeline.add(change));
  on("result", ({ result }) => showResult(result));
  on("state", showState);
}

function cut() {
  Object.assign(now, { connected: false, cut: true });
  showResult(null); // what was seen last may not be so any more
  showHealth();
}

async function again() {
  const response = await fetch("/api/state", { signal: AbortSignal.timeout(SILENT_MS) }).catch(() => null);
  if (response?.status === 401) return location.reload();
  now.full = Boolean(response?.ok);
  listen();
}

// A network that goes away without a word leaves a connection that looks alive for ever.
function watch() {
  if (performance.now() - now.heard < SILENT_MS || source.readyState === EventSource.CLOSED) return;
  source.close();
  cut();
  listen();
}

// -- hands -----------------------------------------------------------------

function pause() {
  now.paused = !now.paused;
  at("pause").setAttribute("aria-pressed", String(now.paused));
  at("pause").textContent = now.paused ? "Go on" : "Pause";
  follow();
}

at("pause").addEventListener("click", pause);
at("span").addEventListener("change", (event) => { timeline.minutes = Number(event.target.value); timeline.draw(); });
document.addEventListener("visibilitychange", follow);
document.addEventListener("keydown", (event) => {
  if (event.key === " " && event.target === document.body) {
    event.preventDefault();
    pause();
  }
});
setInterval(() => {
  watch();
  timeline.draw();
  at("rate").textContent = now.paused ? "paused" : `${(now.drawn.filter((then) => performance.now() - then < 2000).length / 2).toFixed(0)} pictures a second`;
}, 500);
setInterval(showKept, 10000);
showKept();
listen();
follow();
