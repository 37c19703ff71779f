// Ties the page together: the picture, what is seen, the figures, the timeline, the settings, the kept pictures.

import { at, write } from "./dom.js";
import { Camera } from "./camera.js";
import { Decoder } from "./decoder.js";
import { showFigures } from "./figures.js";
import { Gallery } from "./gallery.js";
import { link } from "./link.js";
import { Models } from "./models.js";
import { NetworkInput } from "./network_input.js";
import { Picture } from "./picture.js";
import { RegionHandle } from "./region.js";
import { Announcer, Seen } from "./seen.js";
import { address, ask, leaveWhenLoggedOut } from "./server.js";
import { Settings } from "./settings.js";
import { Share } from "./share.js";
import { Status, trouble } from "./status.js";
import { name, perSecond } from "./text.js";
import { Timeline } from "./timeline.js";

const SILENT_MS = 6000; // the Pi says something every second
const TICK_MS = 500;
const RENEW_MS = 3600_000;

const now = { state: null, result: null, connected: false, full: false, heard: 0, title: "" };
const timeline = new Timeline(at("timeline"), at("changes"));
const settings = new Settings(at("sliders"), at("undo"), at("keep"), at("kept-note"), () => camera.look());
const putRegion = ({ x, y, size }, gesture) => settings.put({ "preprocess.roi.x": x, "preprocess.roi.y": y, "preprocess.roi.size": size }, gesture);
const handle = new RegionHandle(at("region"), at("picture"), putRegion);
const camera = new Camera(at("camera"), at("controls"), at("control-problems"), (values, gesture) => settings.put(values, gesture), () => settings.pending);
const seen = new Seen(at("label"), at("bars"));
const announcer = new Announcer(at("said"));
const status = new Status(at("health"), at("status-screen"));
const gallery = new Gallery(at("kept"), at("gallery"), at("kept-empty"), at("zip"));
const share = new Share(at);
const models = new Models(at);
const input = new NetworkInput(at("input"), at("input-picture"));
const picture = new Picture(at("picture"), () => ({ result: now.result, region: region(), aspect: aspect() }));
const decoder = new Decoder(takePicture);
const hear = {
  up: connected,
  down: ({ full }) => disconnected(full),
  over: () => location.reload(), // to the login form
  history: ({ changes }) => timeline.set(changes),
  change: takeChange,
  result: ({ result }) => takeResult(result),
  state: takeState,
  picture: (sent) => decoder.take(sent),
};
const connection = link((kind, body) => {
  if (kind !== "picture") now.heard = performance.now();
  hear[kind](body);
}, document.documentElement.dataset.version);

// -- what comes in ----------------------------------------------------------

function takePicture(bitmap, jpeg, head) {
  picture.take(bitmap, jpeg, head);
  at("save").disabled = false;
  showHandle();
}

function takeResult(result) {
  now.result = result;
  const own = picture.judged(result);
  if (own || !picture.frozen) showSeen();
}

function takeChange(change) {
  timeline.add(change);
  if (change.kind === "tuning") settings.refresh(); // perhaps by another page, or at the monitor's keyboard
}

function takeState(state) {
  if (now.state && now.state.version !== state.version) location.reload(); // this page is the old program's
  now.state = state;
  timeline.offset = state.now - Date.now() / 1000;
  settings.take(state.live);
  write(at("model"), [state.model, state.source].filter(Boolean).join(" · "));
  write(at("version"), `picam-infer ${state.version}`);
  showFigures(at("numbers"), at("findings"), state);
  gallery.follow(state.keep);
  share.follow(state.share);
  models.follow();
  camera.follow();
  at("watching").hidden = false;
  write(at("watching"), state.paused ? "Resume watching" : "Pause watching");
  if (!picture.frozen) showAdvice();
  showStatus();
}

function connected() {
  Object.assign(now, { connected: true, full: false });
  settings.forget();
  showStatus();
}

function disconnected(full) {
  Object.assign(now, { connected: false, full, result: null }); // what was seen last may not be so any more
  if (!picture.frozen) showSeen();
  showStatus();
}

// A network that goes away without a word leaves a connection that looks alive for ever.
function watch() {
  if (performance.now() - now.heard < SILENT_MS) return;
  now.heard = performance.now();
  disconnected(false);
  connection.restart();
}

// Where the network looks: `preprocess.roi`.
function region() {
  if (handle.held || (settings.pending && handle.region)) return handle.region; // the hand is ahead of the Pi
  return settings.live?.values["preprocess.roi"] ?? null;
}

// The proportions of what the network looks at.
function aspect() {
  return now.state?.picture ? now.state.picture.aspect : 1;
}

// -- what is shown: all of it stands still while the picture is frozen --------

// What was seen: of a frozen picture what was seen in it, or last before it.
function result() {
  return picture.frozen ? picture.shown.result : now.result;
}

function showSeen() {
  seen.show(result(), settings.live?.values?.["decide.threshold"] ?? 0);
  showAdvice();
}

// What the person in front of the camera can do; there is none for what has a name.
function showAdvice() {
  const advice = result()?.label === null ? (now.state?.advice ?? "") : "";
  write(at("advice"), advice);
  at("advice").hidden = !advice;
}

function showHandle() {
  handle.show(picture.frozen || !picture.boxes || !picture.shown || trouble(now) ? null : region(), aspect());
}

function showStatus() {
  showHandle();
  if (picture.frozen) return;
  const card = trouble(now);
  status.show(card);
  now.title = `${card ? card.title : name(now.result?.label)} – picam-infer`;
  document.title = now.title;
}

function announce() {
  if (picture.frozen) return announcer.say("the picture is frozen");
  const card = trouble(now);
  announcer.say(card ? card.title : name(now.result?.label));
}

function freeze() {
  picture.frozen = !picture.frozen && picture.shown !== null;
  at("freeze").setAttribute("aria-pressed", String(picture.frozen));
  if (picture.frozen) {
    status.say("frozen", "held");
    now.title = `${name(result()?.label)} – picam-infer`;
  }
  showSeen();
  showStatus();
  follow();
}

async function pauseOrResume() {
  try {
    const { paused } = await ask("api/pause", "POST", { paused: !now.state.paused });
    takeState({ ...now.state, paused });
    write(at("view-note"), "");
  } catch (error) {
    write(at("view-note"), error.message);
  }
}

// -- connections: none while nobody looks, or six tabs would leave none for a seventh --

function follow() {
  const looking = !document.hidden;
  connection.want({ events: looking, pictures: looking && !picture.frozen });
  input.follow(looking && !picture.frozen);
  document.title = looking && now.title ? now.title : "picam-infer"; // what nobody looks at is not kept up to date
}

function appear() {
  now.heard = performance.now(); // nothing could be heard while nobody looked
  follow();
}

at("freeze").addEventListener("click", freeze);
at("save").addEventListener("click", () => picture.save());
at("watching").addEventListener("click", pauseOrResume);
at("boxes").addEventListener("change", (event) => {
  picture.boxes = event.target.checked;
  picture.draw();
  showHandle();
});
at("span").addEventListener("change", (event) => {
  timeline.minutes = Number(event.target.value);
  timeline.draw();
});
document.addEventListener("visibilitychange", appear);
window.addEventListener("pageshow", appear);
window.addEventListener("pagehide", () => connection.want({ events: false, pictures: false }));
document.addEventListener("keydown", (event) => {
  if (event.key !== " " || event.target !== document.body) return;
  event.preventDefault();
  freeze();
});
setInterval(() => {
  if (document.hidden) return;
  watch();
  follow(); // says that this page is still there
  timeline.draw();
  announce();
  write(at("rate"), picture.frozen ? "" : perSecond(picture.rate));
}, TICK_MS);
// A page that stays open stays logged in: an answer renews the session.
setInterval(() => fetch(address("api/config")).then(leaveWhenLoggedOut, () => null), RENEW_MS);
appear();
