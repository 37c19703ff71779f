// Whether all is well: the pill at the top and the status screen in the picture's place.

import { write } from "./dom.js";
import { clock } from "./text.js";

const STALE_S = 5;

// Returns why there is no picture as { title, reason, hint, outlook, since, held }, null if there is one.
// `outlook`: what happens meanwhile; `held`: somebody wanted it so.
export function trouble({ connected, full, state, switching }) {
  if (!connected && switching) return { title: "switching models", reason: "the Pi is starting the other model", hint: "this takes some seconds", held: true };
  if (!connected && full) return { title: "too many viewers", reason: "the Pi accepts no more at once", hint: "close another page of it, or raise web.max_clients" };
  if (!connected) return { title: "no connection to the Pi", reason: "it is off, restarting, or the network is down", hint: "this page reconnects by itself" };
  if (state?.paused) return { title: "paused", reason: state.paused.reason, hint: "“Resume watching” ends the pause at once", since: state.paused.since, held: true };
  const loss = state?.lost.find(({ blocking }) => blocking);
  if (loss) return { title: loss.title, reason: loss.reason, hint: loss.hint, outlook: loss.outlook, since: loss.since };
  const { picture } = state ?? {};
  if (picture && picture.age_s > Math.max(STALE_S, state.patience_s ?? 0)) return { title: "no picture", reason: `the last one is ${Math.round(picture.age_s)} s old`, hint: "" };
  if (state && !picture) return { title: "starting", reason: "", hint: "waiting for the first picture" };
  return null;
}

export class Status {
  constructor(pill, screen) {
    Object.assign(this, { pill, screen });
  }

  show(card) {
    this.screen.hidden = card === null;
    if (card) {
      const since = card.since ? `since ${clock.format(new Date(card.since * 1000))}` : "";
      const foot = [since, card.outlook].filter(Boolean).join(", ");
      const texts = { h2: card.title, ".reason": card.reason, ".hint": card.hint, ".foot": foot };
      for (const [part, text] of Object.entries(texts)) write(this.screen.querySelector(part), text ?? "");
    }
    this.say(card ? card.title : "live", card ? (card.held ? "held" : "bad") : "good");
  }

  say(word, kind) {
    write(this.pill, word);
    this.pill.className = `pill ${kind}`;
  }
}
