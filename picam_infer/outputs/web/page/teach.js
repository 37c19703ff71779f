// The Teach view: things with names, a button to hold for each, and what the Pi thinks it sees.

import { at, element, reconcile, write } from "./dom.js";
import { Hold } from "./hold.js";
import { address, ask } from "./server.js";
import { lasting, name, percent } from "./text.js";

const LOOK_MS = 2000; // reports that somebody looks; otherwise the live label stops
const LIST_MS = 400;
const ENOUGH = 10; // pictures of a thing
const SHOWN = 6; // thumbnails
const inUse = ({ remembers }) => `Done. The Pi knows these now, ${lasting(remembers)}.`;
const HUES = [145, 262, 35, 325, 85, 205, 5, 290, 60, 175];

export class Teach {
  // `really(question)` opens the dialog; `live()` is called when what the Pi thinks has changed; `trouble()` returns why there is no picture.
  constructor({ really, live, trouble }) {
    Object.assign(this, { really, live, trouble });
    this.open = false;
    this.status = null;
    this.pictures = new Map(); // class → ids, the newest first
    this.whole = new Set(); // classes with all thumbnails shown
    this.keys = new Map(); // the key of a class's card, which survives renaming
    this.current = ""; // what Space records
    this.asking = false;
    this.failure = "";
    this.listed = -1;
    this.using = 0;
    this.hold = new Hold((text) => this.say(text));
    this.listen();
  }

  listen() {
    at("first").addEventListener("click", () => this.add());
    at("another").addEventListener("click", () => this.add());
    at("use").addEventListener("click", () => this.use());
    at("teach-undo").addEventListener("click", () => this.press(at("teach-undo"), "api/teach/undo", {}, ({ undone }) => (undone ? `Undone: ${undone}.` : "")));
    at("back").addEventListener("click", () => this.goBack());
    at("lesson-name").addEventListener("change", () => this.choose({ name: at("lesson-name").value }));
    at("base-name").addEventListener("change", () => this.choose({ base: at("base-name").value }));
    at("lesson-new").addEventListener("submit", (event) => {
      event.preventDefault();
      const field = at("lesson-new-name");
      if (field.value.trim()) this.choose({ name: field.value }).then(() => { field.value = ""; });
    });
    document.addEventListener("keydown", (event) => this.space(event, true));
    document.addEventListener("keyup", (event) => this.space(event, false));
  }

  // Enters or leaves the view.
  show(open) {
    if (this.open === open) return;
    this.open = open;
    if (!open) this.hold.end();
    else this.enter();
  }

  async enter(wish = {}) {
    if (this.asking) return;
    this.asking = true;
    try {
      this.take(await ask("api/teach/open", "POST", wish, 120000));
      this.failure = "";
    } catch (error) {
      this.failure = error.message;
    }
    this.asking = false;
    this.draw();
  }

  // Called every half second.
  async tick() {
    if (!this.open || document.hidden) return;
    if (this.using && performance.now() - this.using > 60000) this.using = 0;
    if (this.asking || performance.now() - (this.looked ?? -LOOK_MS) < LOOK_MS) return;
    this.looked = performance.now();
    if (this.status?.stage === "closed" || !this.status) return this.enter();
    const answer = await ask("api/teach").catch(() => null);
    if (!answer) return;
    Object.assign(this, { lessons: answer.lessons, bases: answer.bases });
    this.take(answer);
  }

  // Takes the status of the lesson.
  take(status) {
    const before = this.status;
    if (status.session === before?.session && status.revision < before.revision) return; // it was overtaken by a newer one
    this.status = { ...status };
    if (status.lessons) Object.assign(this, { lessons: status.lessons, bases: status.bases });
    if (!this.open) return;
    if (this.using && status.in_use) {
      this.using = 0;
      this.say(inUse(status));
    }
    if (status.moved && status.moved.text !== before?.moved?.text) this.say(`${status.moved.text[0].toUpperCase()}${status.moved.text.slice(1)}.`);
    if (status.revision !== this.listed) this.list();
    this.draw();
    if (JSON.stringify(before?.live) !== JSON.stringify(status.live)) this.live();
  }

  // Fetches the list of pictures; while recording, not for every single one.
  async list() {
    if (this.listing || !this.status?.name) return;
    this.listing = true;
    const revision = this.status.revision;
    const answer = await ask("api/teach/pictures").catch(() => null);
    if (answer) {
      this.listed = revision;
      this.pictures = Map.groupBy ? Map.groupBy(answer.pictures.reverse(), ({ label }) => label) : grouped(answer.pictures.reverse());
      this.draw();
    }
    setTimeout(() => {
      this.listing = false;
      if (this.open && this.status?.revision !== this.listed) this.list();
    }, LIST_MS);
  }

  // What the lesson says of the picture, as a result; null: nothing.
  get result() {
    const live = this.status?.live;
    return live ? { label: live.label, score: live.score, captured: live.captured, top: [] } : null;
  }

  get classes() {
    return this.status?.classes ?? [];
  }

  // -- what is shown -----------------------------------------------------------

  draw() {
    const status = this.status;
    const ready = status?.name !== undefined;
    const classes = this.classes;
    at("teach").setAttribute("aria-busy", String(!ready && !this.failure));
    write(at("coach"), this.coach());
    at("first").hidden = !ready || classes.length > 0;
    at("another").hidden = classes.length === 0;
    at("finish").hidden = classes.length === 0;
    if (!classes.some(({ label }) => label === this.current)) this.current = classes.at(-1)?.label ?? "";
    const items = reconcile(at("classes"), classes.map(({ label }) => this.key(label)), () => this.makeCard());
    items.forEach((item, number) => this.drawCard(item, classes[number], number));
    this.drawFinish(status, classes);
    this.drawThought(status);
    this.drawLesson(status);
  }

  // The sentence that says what to do next.
  coach() {
    const { status, classes } = this;
    if (this.failure) return this.failure;
    if (status?.stage === "opening") return status.progress?.of ? `Looking at the pictures: ${status.progress.done} of ${status.progress.of}` : "A moment …";
    if (!status?.name) return "A moment …";
    if (this.trouble()) return `There is no picture now (${this.trouble().title}). What you have taught is kept.`;
    if (status.problem) return [status.problem.reason, status.problem.hint].filter(Boolean).join("; ");
    if (!classes.length) return this.drawn() ? "Draw a sign on paper, hold it in the box, and teach the Pi its name." : "Hold a thing up to the camera, and teach the Pi its name.";
    const empty = classes.find(({ pictures }) => pictures === 0);
    if (empty) return `Show “${empty.label}”, press its button and keep it down. Turn and move it a little.`;
    const few = classes.find(({ pictures }) => pictures < ENOUGH);
    if (few) return `“${few.label}” has only ${few.pictures} ${few.pictures === 1 ? "picture" : "pictures"}: hold its button for two seconds more.`;
    if (classes.length === 1) return "Now teach another thing, or what the camera sees when there is nothing.";
    if (status.in_use) return "The Pi knows these now. Is it wrong about something? Say so: “This was really …”.";
    return "Try it: show one of them. Is it right? Then “Use it”. Wrong? Then “This was really …”, or record more.";
  }

  drawn() {
    return this.status?.chain === "edges";
  }

  key(label) {
    if (!this.keys.has(label)) this.keys.set(label, `thing ${(this.made = (this.made ?? 0) + 1)}`);
    return this.keys.get(label);
  }

  makeCard() {
    const card = element("li", { className: "thing" });
    const title = element("input", { className: "title", maxLength: 60, autocomplete: "off", spellcheck: false, dir: "auto" });
    const count = element("span", { className: "count dim" });
    const record = element("button", { type: "button", className: "record" }, element("span", { textContent: "Hold to record" }));
    const into = element("select", {});
    const remove = element("button", { type: "button", textContent: "Remove" });
    const more = element("button", { type: "button", className: "more", textContent: "⋯" });
    const extra = element("div", { className: "extra", hidden: true }, element("label", {}, "Put its pictures into ", into), remove);
    more.setAttribute("aria-expanded", "false");
    more.addEventListener("click", () => {
      extra.hidden = !extra.hidden;
      more.setAttribute("aria-expanded", String(!extra.hidden));
    });
    const thumbs = element("ul", { className: "thumbs" });
    const all = element("button", { type: "button", className: "all" });
    const odd = element("p", { className: "dim hint", hidden: true });
    card.append(element("div", { className: "top" }, element("i", { className: "swatch" }), title, count, more), extra, record, thumbs, odd, all);
    Object.assign(card, { title_: title, count_: count, record_: record, into, remove_: remove, more, thumbs, odd, all });
    title.addEventListener("focus", () => this.choosing(card.of));
    title.addEventListener("change", () => this.rename(card, title.value));
    title.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault(); // otherwise it would press the button, too
        record.focus();
      }
      if (event.key === "Escape") title.value = card.of;
    });
    record.addEventListener("pointerdown", () => this.choosing(card.of));
    record.addEventListener("focus", () => this.choosing(card.of));
    this.hold.attach(record, () => card.of);
    into.addEventListener("change", () => into.value && this.change({ rename: card.of, to: into.value }, `“${card.of}” went into “${into.value}”.`));
    remove.addEventListener("click", () => this.change({ remove: card.of }, `“${card.of}” is removed.`));
    all.addEventListener("click", () => {
      if (!this.whole.delete(card.of)) this.whole.add(card.of);
      this.draw();
    });
    return card;
  }

  drawCard(card, { label, pictures }, number) {
    card.of = label;
    card.style.setProperty("--hue", HUES[number % HUES.length]);
    card.classList.toggle("current", label === this.current);
    if (document.activeElement !== card.title_) card.title_.value = label;
    card.title_.setAttribute("aria-label", `Name: ${label}`);
    write(card.count_, `${pictures} ${pictures === 1 ? "picture" : "pictures"}`);
    const recording = this.status.recording === label || this.hold.label === label;
    write(card.record_.firstChild, recording ? "Recording …" : "Hold to record");
    card.record_.setAttribute("aria-label", `${card.record_.textContent}: ${label}`);
    card.record_.setAttribute("aria-pressed", String(recording));
    card.record_.setAttribute("aria-disabled", String(this.trouble() !== null));
    card.record_.title = label === this.current ? "Space works too" : "";
    card.more.setAttribute("aria-label", `More for ${label}`);
    const others = this.classes.map((one) => one.label).filter((other) => other !== label);
    const options = reconcile(card.into, ["", ...others], (other) => element("option", { value: other, textContent: other || "choose …" }));
    if (document.activeElement !== card.into) card.into.value = "";
    card.into.disabled = options.length < 2;
    this.drawThumbs(card, label);
  }

  drawThumbs(card, label) {
    const pictures = this.pictures.get(label) ?? [];
    const likes = new Map(pictures.map(({ id, like }) => [id, like]));
    const there = [...likes.keys()];
    // Those with a ? are spoken of below, and so are always among the few.
    const first = [...there].sort((one, other) => (likes.get(one) === undefined) - (likes.get(other) === undefined)).slice(0, SHOWN);
    const shown = this.whole.has(label) ? there : there.filter((id) => first.includes(id));
    const items = reconcile(card.thumbs, shown, (id) => this.makeThumb(id));
    items.forEach((item, number) => {
      const odd = oddness(label, likes.get(shown[number]));
      const text = `Picture ${there.length - there.indexOf(shown[number])} of ${label}${odd && `, which ${odd}`}`;
      if (item.firstChild.title !== text) Object.assign(item.firstChild, { title: text }).setAttribute("aria-label", `${text}: change or delete`);
      item.firstChild.classList.toggle("odd", odd !== "");
      Object.assign(item.firstChild, { of: label, odd });
    });
    const marked = pictures.filter(({ like }) => like !== undefined).length;
    card.odd.hidden = marked === 0;
    if (marked) write(card.odd, `${marked === 1 ? "One picture" : `${marked} pictures`} with a ? ${marked === 1 ? "looks" : "look"} different. Right or wrong? Press ${marked === 1 ? "it" : "them"} to see.`);
    card.all.hidden = there.length <= SHOWN;
    write(card.all, this.whole.has(label) ? "Show fewer" : `Show all ${there.length}`);
  }

  makeThumb(id) {
    const image = element("img", { loading: "lazy", alt: "", width: 80, height: 60, src: address(`teach/thumbnail/${id}`) });
    const button = element("button", { type: "button", className: "thumb" }, image);
    const remove = () => this.send("api/teach/pictures", { id, label: null }, () => "A picture is deleted.");
    button.addEventListener("click", () => this.really({ src: `teach/picture/${id}`, was: button.of, odd: button.odd, body: { id }, classes: this.classes, remove, done: (answer) => this.take(answer) }));
    button.addEventListener("keydown", (event) => {
      if (event.key === "Delete" || event.key === "Backspace") remove();
    });
    return element("li", {}, button);
  }

  drawFinish(status, classes) {
    const taught = classes.some(({ pictures }) => pictures > 0);
    const saving = status?.stage === "saving" || this.using > 0;
    at("use").setAttribute("aria-disabled", String(!taught || saving || status.in_use));
    write(at("use"), saving ? "The Pi is switching to it …" : status?.in_use ? "In use" : "Use it");
    at("teach-undo").setAttribute("aria-disabled", String(!status?.undo));
    write(at("teach-undo"), status?.undo ? `Undo: ${status.undo}` : "Undo");
    at("back").hidden = !status?.before || !status.runs;
    write(at("back"), `Back to “${status?.before ?? ""}”`);
    const report = status?.in_use ? status.report : null;
    const right = report?.accuracy != null ? Math.round(report.accuracy * report.left_out) : 0;
    write(at("quality"), right && classes.length > 1 ? `Tried on pictures that it had not learnt, it named ${right} of ${report.left_out} correctly.` : "");
  }

  drawThought(status) {
    const live = status?.live;
    write(at("thought-label"), live ? name(live.label) : "–");
    at("thought-label").className = live ? (live.label === null ? "unknown" : "") : "stale";
    const number = this.classes.findIndex(({ label }) => label === live?.label);
    at("thought-label").style.setProperty("--hue", HUES[Math.max(0, number) % HUES.length]);
    const rows = this.classes.filter(({ pictures }) => pictures > 0).map(({ label }) => label);
    const bars = reconcile(at("thought-bars"), rows.length ? [...rows.map((label) => `of ${label}`), "unknown"] : [], makeBar);
    bars.forEach((bar, row) => {
      const label = rows[row];
      const score = live ? (label === undefined ? live.unknown : (live.scores[label] ?? 0)) : 0;
      bar.style.setProperty("--hue", HUES[Math.max(0, this.classes.findIndex((one) => one.label === label)) % HUES.length]);
      bar.classList.toggle("none", label === undefined);
      write(bar.querySelector(".name"), label ?? "unknown");
      write(bar.querySelector(".percent"), live ? percent(score) : "");
      bar.querySelector("i").style.transform = `scaleX(${score})`;
    });
    at("thought-really").hidden = !live;
    at("thought").hidden = rows.length === 0;
  }

  drawLesson(status) {
    at("lesson").hidden = !status?.name && !this.failure;
    const lessons = [...new Set([...(status?.name ? [status.name] : []), ...(this.lessons ?? [])])];
    reconcile(at("lesson-name"), lessons, (lesson) => element("option", { value: lesson, textContent: lesson }));
    if (document.activeElement !== at("lesson-name") && status?.name) at("lesson-name").value = status.name;
    const bases = this.bases ?? [];
    const known = bases.some((base) => base.name === status?.base);
    const options = known || !status?.base ? bases : [{ name: status.base, drawn: this.drawn() }, ...bases];
    reconcile(at("base-name"), options.map((base) => base.name), (base) => element("option", { value: base }));
    for (const option of at("base-name").options) write(option, `${option.value} (${options.find((base) => base.name === option.value)?.drawn ? "drawn signs" : "things"})`);
    if (document.activeElement !== at("base-name") && status?.base) at("base-name").value = status.base;
    at("only-signs").hidden = at("first").hidden || !(bases.length && bases.every((base) => base.drawn));
    at("teach-zip").hidden = !status?.pictures;
    if (status?.name) write(at("room"), `${megabytes(status.bytes)} of ${megabytes(status.max_bytes)} MB for pictures are used.`);
  }

  // -- actions ------------------------------------------------------------------

  say(text) {
    write(at("teach-note"), text);
  }

  choosing(label) {
    this.current = label;
    for (const card of at("classes").children) card.classList.toggle("current", card.of === label);
    return label;
  }

  async add() {
    const taken = new Set(this.classes.map(({ label }) => label));
    let number = this.classes.length + 1;
    while (taken.has(`thing ${number}`)) number += 1;
    const label = `thing ${number}`;
    if (!(await this.change({ add: label }, ""))) return;
    this.choosing(label);
    const card = [...at("classes").children].find((one) => one.of === label);
    card?.title_.focus();
    card?.title_.select();
  }

  async rename(card, text) {
    const [old, wanted] = [card.of, text.trim().replace(/\s+/gu, " ")];
    if (!wanted || wanted === old) return void (card.title_.value = old);
    const merged = this.classes.some(({ label }) => label === wanted);
    if (!merged) this.keys.set(wanted, this.key(old));
    const done = await this.change({ rename: old, to: wanted }, merged ? `“${old}” went into “${wanted}”.` : "");
    if (done) this.keys.delete(old);
    else if (!merged) this.keys.delete(wanted);
    if (done && this.current === old) this.current = wanted;
    if (!done) card.title_.value = old;
    this.draw();
  }

  change(wish, words) {
    return this.send("api/teach/classes", wish, () => words);
  }

  // Sends a change, shows the outcome, and returns whether it was done.
  async send(path, body, words) {
    try {
      const answer = await ask(path, "POST", body, 120000);
      this.say(words(answer));
      if (answer.stage) this.take(answer);
      return true;
    } catch (error) {
      this.say(error.message);
      return false;
    }
  }

  press(button, path, body, words) {
    if (button.getAttribute("aria-disabled") !== "true") return this.send(path, body, words);
    return false;
  }

  async use() {
    if (at("use").getAttribute("aria-disabled") === "true") return;
    this.using = performance.now();
    this.say("The Pi is switching to it …");
    this.draw();
    const done = await this.send("api/teach/use", {}, (answer) => (answer.in_use ? inUse(answer) : "The Pi is switching to it …"));
    if (!done) this.using = 0;
    this.draw();
  }

  async goBack() {
    this.using = performance.now();
    await this.send("api/teach/back", {}, ({ model }) => `The Pi goes back to “${model}”. What you have taught is kept.`);
    this.using = 0;
  }

  async choose(wish) {
    this.say("");
    this.status = null;
    this.draw();
    await this.enter(wish);
  }

  // Whether the Pi is about to run another model: it may then be away for some seconds.
  get switching() {
    return this.using > 0;
  }

  space(event, down) {
    if (!this.open || event.key !== " " || event.target !== document.body || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    if (!down) this.hold.end();
    else if (!event.repeat && this.current) this.hold.begin(() => this.current);
  }
}

// How a picture differs from the others of its thing; empty: not at all. `like`: the thing that it resembles most.
function oddness(label, like) {
  if (like === undefined) return "";
  return like === label ? "looks different from the others" : `looks more like “${like}”`;
}

function makeBar() {
  const made = element("li", {}, element("span", { className: "name", dir: "auto" }), element("span", { className: "percent" }), element("span", { className: "bar" }, element("i")));
  made.lastChild.setAttribute("aria-hidden", "true");
  return made;
}

function grouped(pictures) {
  const found = new Map();
  for (const one of pictures) found.set(one.label, [...(found.get(one.label) ?? []), one]);
  return found;
}

function megabytes(bytes) {
  return bytes < 10e6 ? (bytes / 1e6).toFixed(1) : Math.round(bytes / 1e6);
}
