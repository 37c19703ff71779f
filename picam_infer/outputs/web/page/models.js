// The installed models, and the one on trial, from a file or a USB stick.

import { element, reconcile, write } from "./dom.js";
import { address, ask, leaveWhenLoggedOut } from "./server.js";
import { figure, lasting, name as labelName } from "./text.js";

const POLL_MS = 600;
const WORDS = { read: "reading", build: "building", quantize: "making it smaller", try: "trying pictures on", check: "checking", save: "saving" };

export class Models {
  // `at` finds the card's elements by id.
  constructor(at) {
    this.at = at;
    this.sending = null;
    at("models").addEventListener("toggle", () => this.follow(), true);
    at("model-file").addEventListener("change", (event) => this.send(event.target.files[0]));
    at("model-use").addEventListener("click", () => this.do(() => this.use("api/models/trial/use", {})));
    at("model-discard").addEventListener("click", () => this.do(() => this.discard()));
    at("models").addEventListener("dragover", (event) => event.preventDefault());
    at("models").addEventListener("drop", (event) => {
      event.preventDefault();
      this.send(event.dataTransfer.files[0]);
    });
  }

  get open() {
    return this.at("models").querySelector("details").open;
  }

  // Asks the server again and again while somebody looks.
  async follow() {
    if (this.timer || !this.open || document.hidden) return;
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.follow();
    }, POLL_MS);
    try {
      this.show(await ask("api/models"));
    } catch (error) {
      console.debug(error); // the next try may work
    }
  }

  show({ models, before, remembers, trial, offers, media, max_mb }) {
    const { at } = this;
    Object.assign(this, { most: max_mb, remembers });
    const known = new Map(models.map((model) => [JSON.stringify([model, before === model.name]), model]));
    reconcile(at("model-list"), [...known.keys()], (key) => this.item(known.get(key), before));
    const found = new Map(offers.map((offer) => [offer.path, offer]));
    reconcile(at("model-offers"), [...found.keys()], (path) => this.offer(found.get(path)));
    reconcile(at("model-media"), media.map(({ device, name, how }) => `${name} (${device}): ${how}`), (text) => element("li", { textContent: text }));
    at("model-sticks").hidden = !offers.length && !media.length;
    this.showTrial(trial);
  }

  showTrial(trial) {
    const { at } = this;
    // What somebody has just begun, or waits for, may be below the edge of the screen.
    if (this.stage !== undefined && trial.stage !== this.stage && trial.stage !== "none") requestAnimationFrame(() => at("model-trial").scrollIntoView({ block: "nearest" }));
    this.stage = trial.stage;
    at("model-trial").hidden = trial.stage === "none";
    at("model-choose").hidden = trial.stage === "receiving" || trial.stage === "converting";
    at("model-use").hidden = trial.stage !== "ready";
    write(at("model-discard"), trial.stage === "failed" ? "Close" : trial.stage === "ready" ? "Discard" : "Cancel");
    write(at("model-stage"), stageText(trial));
    const share = trial.stage === "receiving" && trial.size ? trial.received / trial.size : null;
    at("model-progress").hidden = trial.stage !== "receiving" && trial.stage !== "converting";
    if (share === null) at("model-progress").removeAttribute("value");
    else at("model-progress").value = share;
    const live = trial.live ?? null;
    at("model-live").hidden = trial.stage !== "ready";
    write(at("model-live"), live ? `It sees: ${live.label === null ? "unknown" : labelName(live.label)}` : "The Pi is looking …");
    reconcile(at("model-top"), (live?.top ?? []).map(({ label, score, value, unit }) => `${labelName(label)} ${figure(value ?? score, unit)}`), (text) => element("li", { textContent: text }));
    at("model-assumed").hidden = !trial.notes?.length;
    reconcile(at("model-notes"), trial.notes ?? [], (note) => element("li", { textContent: note }));
  }

  item(model, before) {
    const about = model.error ?? `${model.labels.slice(0, 6).join(", ")}${model.labels.length > 6 ? ", …" : ""}`;
    const words = [model.in_use ? "in use" : "", before === model.name ? "used before" : "", model.built_in ? "built in" : "", model.taught ? "taught here" : ""];
    const use = element("button", { type: "button", textContent: "Use" });
    use.setAttribute("aria-label", `Use ${model.name}`);
    use.addEventListener("click", () => this.do(() => this.use("api/models/use", { name: model.name })));
    const remove = element("button", { type: "button", textContent: "Delete" });
    remove.setAttribute("aria-label", `Delete ${model.name}`);
    remove.addEventListener("click", () => this.remove(remove, model.name));
    use.hidden = model.in_use || Boolean(model.error);
    remove.hidden = model.in_use || model.built_in;
    return element("li", { className: model.in_use ? "current" : "" }, element("b", { textContent: model.name, dir: "auto" }),
      element("span", { className: "dim", textContent: words.filter(Boolean).join(", ") }), element("span", { textContent: about, dir: "auto" }),
      element("span", { className: "row" }, use, remove));
  }

  offer({ path, name, medium, bytes }) {
    const button = element("button", { type: "button", textContent: `Try ${name}` });
    button.addEventListener("click", () => this.do(async () => this.showTrial(await ask("api/models/import", "POST", { path }))));
    return element("li", {}, button, element("span", { className: "dim", textContent: ` ${medium}, ${megabytes(bytes)}` }));
  }

  // Only the second press deletes: it cannot be undone.
  remove(button, name) {
    if (button.dataset.sure) return this.do(async () => this.show(await ask("api/models/delete", "POST", { name })));
    button.dataset.sure = "1";
    button.textContent = "Delete permanently?";
    setTimeout(() => {
      delete button.dataset.sure;
      button.textContent = "Delete";
    }, 4000);
  }

  async use(path, wish) {
    const { name } = await ask(path, "POST", wish);
    write(this.at("model-note"), `The service runs ${name} now${this.remembers ? "" : `, ${lasting(false)}`}.`);
    this.at("model-note").className = "dim";
  }

  async discard() {
    this.sending?.abort();
    this.showTrial(await ask("api/models/trial/discard", "POST", {}));
  }

  async send(file) {
    if (!file) return;
    this.at("model-file").value = "";
    await this.do(async () => {
      if (this.most && file.size > this.most * 1e6) throw new Error(`${file.name} is larger than ${this.most} MB`);
      this.sending = new AbortController();
      let response, answer;
      try {
        response = await fetch(address(`api/models/upload?name=${encodeURIComponent(file.name)}`), {
          method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file, signal: this.sending.signal });
        answer = await response.json();
      } catch (error) {
        if (error.name === "AbortError") return;
        throw new Error("the upload broke off");
      } finally {
        this.sending = null;
      }
      if (leaveWhenLoggedOut(response)) return;
      if (!response.ok) throw new Error([answer.error, answer.hint].filter(Boolean).join("; "));
      this.showTrial(answer);
    });
  }

  async do(what) {
    const note = this.at("model-note");
    try {
      write(note, "");
      note.className = "problem";
      await what();
    } catch (error) {
      write(note, error.message);
    }
  }
}

function stageText(trial) {
  if (trial.stage === "receiving") return `Receiving ${trial.file}: ${megabytes(trial.received)}${trial.size ? ` of ${megabytes(trial.size)}` : ""}`;
  if (trial.stage === "converting") return `Converting ${trial.file}: ${WORDS[trial.phase] ?? trial.phase}, ${Math.round(trial.seconds)} s`;
  if (trial.stage === "failed") return [trial.problem.reason, trial.problem.hint].filter(Boolean).join("; ");
  if (trial.stage === "ready") return `${trial.name} is ready: ${trial.labels.slice(0, 8).join(", ")}${trial.labels.length > 8 ? ", …" : ""}. The service goes on with its own model.`;
  return "";
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}
