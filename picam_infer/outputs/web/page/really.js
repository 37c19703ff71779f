// “This was really …”: the dialog that asks what a picture shows, wherever the picture comes from.

import { at, element, reconcile, write } from "./dom.js";
import { address, ask } from "./server.js";
import { name } from "./text.js";

export class Really {
  // `told(answer, label)` is called once the Pi has learnt it; `running()` returns the name of the model that runs.
  constructor(told, running) {
    Object.assign(this, { told, running });
    this.box = at("really");
    this.question = null;
    at("really-other").addEventListener("submit", (event) => {
      event.preventDefault();
      if (at("really-name").value.trim()) this.answer(at("really-name").value.trim());
    });
    at("really-delete").addEventListener("click", () => {
      const { remove } = this.question;
      this.box.close();
      remove();
    });
    at("really-close").addEventListener("click", () => this.box.close());
    this.box.addEventListener("click", (event) => {
      if (event.target === this.box) this.box.close(); // a click outside of it
    });
  }

  // `src` is the picture's address; `was` what it was taken for; `odd` how it differs from the others of its class; `body`
  // identifies it in the request; `classes` are the choices (fetched if left out).
  async open(question) {
    this.question = question;
    at("really-picture").src = address(question.src);
    write(at("really-was"), question.was === undefined ? "" : `The Pi took it for: ${name(question.was)}`);
    if (question.remove) write(at("really-was"), `It is among the pictures of “${question.was}”${question.odd ? `, but ${question.odd}. Right? Then leave it` : ""}.`);
    at("really-delete").hidden = !question.remove;
    at("really-name").value = "";
    write(at("really-note"), "");
    write(at("really-lesson"), "");
    this.show(question.classes ?? []);
    if (!this.box.open) this.box.showModal();
    if (question.classes) return;
    try {
      const lesson = await ask("api/teach/open", "POST", {}, 120000);
      if (this.question !== question) return;
      this.show(lesson.classes);
      if (!lesson.runs) write(at("really-lesson"), this.elsewhere(lesson));
    } catch (error) {
      write(at("really-note"), error.message);
    }
  }

  // What an answer does while the Pi runs a model that was not taught here.
  elsewhere({ name: lesson, classes }) {
    const there = classes.filter(({ pictures }) => pictures > 0).map(({ label }) => `“${label}”`);
    const what = there.length ? `goes into the lesson “${lesson}”, which knows ${there.slice(0, 4).join(", ")}${there.length > 4 ? ", …" : ""}` : `begins a new lesson, “${lesson}”, which knows nothing else yet`;
    return `“${this.running()}” itself cannot be corrected: it was not taught here. Your answer ${what}. “Use it” in Teach makes the Pi run that lesson instead.`;
  }

  show(classes) {
    const others = classes.map(({ label }) => label).filter((label) => !this.question.remove || label !== this.question.was);
    write(at("really-other-label"), others.length ? "Something else" : "What it was");
    reconcile(at("really-classes"), others, (label) => {
      const button = element("button", { type: "button", textContent: label, dir: "auto" });
      button.addEventListener("click", () => this.answer(label));
      return button;
    });
  }

  async answer(label) {
    const { body, done } = this.question;
    write(at("really-note"), "Learning it …");
    try {
      const answer = await ask("api/teach/pictures", "POST", { label, ...body }, 120000);
      this.box.close();
      if (done) done(answer);
      this.told(answer, label, this.question);
    } catch (error) {
      write(at("really-note"), error.message);
    }
  }
}
