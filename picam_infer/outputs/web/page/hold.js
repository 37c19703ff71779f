// A button that records for as long as it is held: by mouse, finger or key. If it can only be pressed, it records for two seconds.

import { ask } from "./server.js";

const AGAIN_MS = 300; // the Pi stops by itself when it hears nothing for longer
const PRESS_MS = 2000;
const CLICK_MS = 1000; // within which the click that belongs to a hold comes after it, if one comes: not when the button has moved
let holds = 0;

export class Hold {
  // `say(text)` tells why nothing is recorded.
  constructor(say) {
    this.say = say;
    this.named = null; // returns what is recorded; null: nothing is
    this.timer = 0;
    this.until = Infinity;
    this.told = Promise.resolve(); // settles when the Pi has answered the last request
    this.telling = 0;
    addEventListener("blur", () => this.end());
    document.addEventListener("visibilitychange", () => this.end());
  }

  // `label()` returns what the button records.
  attach(button, label) {
    let held = -Infinity; // when the button was held last
    const begin = () => {
      if (button.getAttribute("aria-disabled") === "true") return;
      held = Infinity;
      this.begin(label);
    };
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      begin();
    });
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(kind, () => {
      held = Math.min(held, performance.now());
      this.end();
    });
    button.addEventListener("keydown", (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      if (!event.repeat) begin();
    });
    button.addEventListener("keyup", (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      held = -Infinity; // no click follows
      this.end();
    });
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    button.addEventListener("click", (event) => {
      const ofHold = event.detail !== 0 && performance.now() - held < CLICK_MS;
      if (!ofHold && button.getAttribute("aria-disabled") !== "true") this.begin(label, PRESS_MS); // a screen reader's press
      held = -Infinity;
    });
  }

  // What is recorded now; empty: nothing.
  get label() {
    return this.named?.() ?? "";
  }

  begin(label, for_ms = Infinity) {
    this.end();
    holds += 1;
    Object.assign(this, { named: label, hold: `${performance.timeOrigin.toString(36)}-${holds}`, until: performance.now() + for_ms });
    this.send();
    this.timer = setInterval(() => (performance.now() > this.until ? this.end() : this.telling || this.send()), AGAIN_MS);
  }

  end() {
    if (!this.named) return;
    clearInterval(this.timer);
    this.named = null;
    this.tell({ label: null }).catch(() => null);
  }

  // One request after the other: a release that overtook the hold before it would leave the Pi recording.
  tell(body) {
    this.telling += 1;
    this.told = this.told.catch(() => null).then(() => ask("api/teach/record", "POST", body)).finally(() => (this.telling -= 1));
    return this.told;
  }

  async send() {
    try {
      await this.tell({ label: this.label, hold: this.hold });
    } catch (error) {
      this.end();
      this.say(error.message);
    }
  }
}
