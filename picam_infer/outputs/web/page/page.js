// Ties the page together: the picture, what is seen, the figures, the timeline, the settings, the collected pictures.

import { at, write } from "./dom.js";
import { Camera } from "./camera.js";
import { Decoder } from "./decoder.js";
import { showFigures } from "./figures.js";
import { Gallery } from "./gallery.js";
import { link } from "./link.js";
import { Models } from "./models.js";
import { NetworkInput } from "./network_input.js";
import { Picture } from "./picture.js";
import { Really } from "./really.js";
import { RegionHandle } from "./region.js";
import { Announcer, Seen } from "./seen.js";
import { address, ask, leaveWhenLoggedOut } from "./server.js";
import { Settings } from "./settings.js";
import { Share } from "./share.js";
import { Status, trouble } from "./status.js";
import { Teach } from "./teach.js";
import { name, perSecond } from "./text.js";
import { Timeline } from "./timeline.js";

const SILENT_MS = 6000; // the Pi says something every second
const TICK_MS = 500;
const RENEW_MS = 3600_000;

const now = { state: null, result: null, connected: false, full: false, heard: 0, title: "" };
const timeline = new Timeline(at("timeline"), at("changes"));
const settings = new Settings({ box: at("sliders"), undo: at("undo"), keep: at("keep"), note: at("kept-note"), unsaved: at("unsaved") }, () => camera.look());
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
const picture = new Picture(at("picture"), () => ({ result: thought(), region: region(), aspect: aspect() }));
const really = new Really(corrected, () => now.state?.model ?? "");
const teach = new Teach({ really: (question) => really.open(question), live: takeThought, trouble: why });
timeline.really = gallery.really = (question) => really.open(question);
const decoder = new Decoder(takePicture);
const hear = {
  up: connected,
  down: ({ full }) => disconnected(full),
  over: () => location.reload(), // to the login form
  history: ({ changes }) => timeline.set(changes),
  change: takeChange,
  result: ({ result }) => takeResult(result),
  teach: takeTeach,
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
  if (teach.open) return;
  const own = picture.judged(result);
  if (own || !picture.frozen) showSeen();
}

function takeChange(change) {
  timeline.add(change);
  if (change.kind === "tuning") settings.refresh(); // perhaps on another page, or with the monitor's keyboard
}

// The state of the lesson. A service that cannot be taught sends none.
function takeTeach(status) {
  for (const id of ["views", "was-really"]) at(id).hidden = false;
  document.body.classList.add("teachable");
  timeline.follow(status.recent);
  teach.take(status);
}

// What the lesson says of the picture that is shown.
function takeThought() {
  if (!teach.open) return;
  picture.judged(teach.result);
  showStatus();
}

function takeState(state) {
  if (now.state && now.state.version !== state.version) location.reload(); // this page belongs to the old version
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
  Object.assign(now, { connected: false, full, result: null }); // what was seen last may not be true any more
  if (!picture.frozen) showSeen();
  showStatus();
}

// When the network just goes away, the connection looks alive for ever.
function watch() {
  if (performance.now() - now.heard < SILENT_MS) return;
  now.heard = performance.now();
  disconnected(false);
  connection.restart();
}

// Where the network looks: `preprocess.roi`, or what the lesson looks at.
function region() {
  if (teach.open && teach.status?.region !== undefined && !handle.held && !settings.pending && teach.status.runs !== teach.status.name) {
    return teach.status.region;
  }
  if (handle.held || (settings.pending && handle.region)) return handle.region; // the visitor is ahead of the Pi
  return settings.live?.values["preprocess.roi"] ?? null;
}

// The aspect ratio of what the network looks at.
function aspect() {
  if (teach.open && teach.status?.aspect !== undefined) return teach.status.aspect;
  return now.state?.picture ? now.state.picture.aspect : 1;
}

// -- what is shown: none of it changes while the picture is frozen ------------

// The newest result, or, of a frozen picture, the result for it or the last one before it.
function result() {
  return picture.frozen ? picture.shown.result : now.result;
}

// The answer about the newest picture: of the running model, or of the lesson in the Teach view.
function thought() {
  return teach.open ? teach.result : now.result;
}

// Why there is no picture; null: there is one.
function why() {
  return trouble({ ...now, switching: teach.switching });
}

function showSeen() {
  seen.show(result(), settings.live?.values?.["decide.threshold"] ?? 0);
  showAdvice();
}

// Advice for the person in front of the camera; none while the thing is recognised.
function showAdvice() {
  const advice = result()?.label === null ? (now.state?.advice ?? "") : "";
  write(at("advice"), advice);
  at("advice").hidden = !advice;
}

function showHandle() {
  handle.show(picture.frozen || !picture.boxes || !picture.shown || why() ? null : region(), aspect());
}

function showStatus() {
  showHandle();
  const card = why();
  at("why")?.setAttribute("aria-disabled", String(card !== null));
  for (const id of ["was-really", "thought-really"]) at(id).setAttribute("aria-disabled", String(card !== null && !picture.frozen));
  if (picture.frozen) return;
  status.show(card);
  now.title = `${card ? card.title : name(thought()?.label)} – picam-infer`;
  document.title = now.title;
}

function announce() {
  if (picture.frozen) return announcer.say("the picture is frozen");
  const card = why();
  announcer.say(card ? card.title : name(thought()?.label));
}

function freeze() {
  picture.frozen = !picture.frozen && picture.shown !== null;
  at("freeze").setAttribute("aria-pressed", String(picture.frozen));
  if (picture.frozen) {
    status.say("frozen", "held");
    now.title = `${name(result()?.label)} – picam-infer`;
  }
  if (picture.frozen) pin(); // otherwise the Pi forgets it
  showSeen();
  showStatus();
  follow();
}

// Has the Pi keep the newest picture for a while; returns its name, empty if there is no picture.
function pin() {
  now.pinned = at("was-really").hidden ? Promise.resolve("") : ask("api/teach/pin", "POST", {}).then(({ recent }) => recent);
  now.pinned.catch(() => null);
  return now.pinned;
}

async function sayReally() {
  if (at("was-really").getAttribute("aria-disabled") === "true") return; // there is no picture, and the page says why
  try {
    const recent = await (picture.frozen && now.pinned ? now.pinned : pin());
    const was = teach.open ? teach.result?.label : result()?.label;
    const question = { src: `teach/recent/${recent}`, was, body: { recent, use: !teach.open } };
    if (teach.open) Object.assign(question, { classes: teach.classes, done: (answer) => teach.take(answer) });
    really.open(question);
  } catch (error) {
    if (teach.open) teach.say(error.message);
    else tellCorrected(error.message, false);
  }
}

// The Pi has learnt what a picture really shows.
function corrected({ lesson, used }, label) {
  if (teach.open) return teach.say(`Learnt: that was “${label}”.`);
  tellCorrected(used ? `Learnt: that was “${label}”. The Pi knows it now.` : `“${label}” has one picture more in the lesson “${lesson}”. The Pi runs another model: “Use it” in Teach makes it run this one.`, true);
  now.corrected = used;
}

// Says what became of a correction; `undo`: whether there is something to undo.
function tellCorrected(text, undo) {
  at("corrected").hidden = false;
  write(at("corrected-note"), text);
  at("uncorrect").hidden = !undo;
}

async function uncorrect() {
  try {
    await ask("api/teach/undo", "POST", { use: Boolean(now.corrected) }, 120000);
    at("corrected").hidden = true;
  } catch (error) {
    write(at("corrected-note"), error.message);
  }
}

// The part of the address after # selects the view.
function showView() {
  const teaching = location.hash === "#teach";
  if (teaching && picture.frozen) freeze();
  document.body.dataset.view = teaching ? "teach" : "watch";
  for (const [id, here] of [["to-teach", teaching], ["to-watch", !teaching]]) {
    if (here) at(id).setAttribute("aria-current", "page");
    else at(id).removeAttribute("aria-current");
  }
  teach.show(teaching);
  showSeen();
  showStatus();
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

// -- connections: none for pages in the background, as browsers allow only six per server --

function follow() {
  const looking = !document.hidden;
  connection.want({ events: looking, pictures: looking && !picture.frozen });
  input.follow(looking && !picture.frozen);
  document.title = looking && now.title ? now.title : "picam-infer"; // a page in the background is not kept up to date
}

function appear() {
  now.heard = performance.now(); // nothing could arrive in the background
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
at("was-really").addEventListener("click", sayReally);
at("thought-really").addEventListener("click", sayReally);
at("uncorrect").addEventListener("click", uncorrect);
window.addEventListener("hashchange", showView);
document.addEventListener("keydown", (event) => {
  if (event.key !== " " || event.target !== document.body || teach.open || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  freeze();
});
setInterval(() => {
  if (document.hidden) return;
  watch();
  follow(); // reports that this page is still open
  timeline.draw();
  announce();
  teach.tick();
  write(at("rate"), picture.frozen ? "" : perSecond(picture.rate));
}, TICK_MS);
// A page that stays open stays logged in: any response may renew the session.
setInterval(() => fetch(address("api/config")).then(leaveWhenLoggedOut, () => null), RENEW_MS);
showView();
appear();
