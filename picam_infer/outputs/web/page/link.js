// The two connections to the server, shared by all pages of this browser, which allows only six connections per server.

import { Events } from "./events.js";
import { address } from "./server.js";
import { PictureStream } from "./stream.js";

const GONE_MS = 20000; // each page reports every few seconds that it is still open
const MOST_CHANGES = 2000;

export class Link {
  constructor() {
    this.pages = new Map(); // a page's `tell` → { events, pictures, at }
    this.last = new Map(); // the newest of each kind of event, for a page that comes later
    this.cut = false;
    this.events = new Events((kind, body) => this.hear(kind, body));
    this.stream = new PictureStream(address("stream.mjpg?raw=1"), (kind, body) => this.send(kind, body, "pictures"));
    setInterval(() => this.forgetGone(), GONE_MS / 4);
  }

  // Called by each page now and then: `tell(kind, body)` is called with what it `wants`.
  want(tell, wants) {
    const before = this.pages.get(tell);
    if (wants.events || wants.pictures) this.pages.set(tell, { ...wants, at: performance.now() });
    else this.pages.delete(tell);
    if (wants.events && !before?.events) for (const [kind, body] of this.last) tell(kind, body);
    this.follow();
  }

  // A page reports that the connections hang.
  restart() {
    this.events.close();
    this.hear("down", { full: false });
    this.follow();
  }

  follow() {
    const wanted = (what) => [...this.pages.values()].some((page) => page[what]);
    if (wanted("events")) this.events.open();
    else this.close();
    if (wanted("pictures")) this.stream.start();
    else this.stream.stop();
  }

  close() {
    this.events.close();
    this.last.clear();
  }

  hear(kind, body) {
    if (kind === "down") {
      this.cut = true;
      this.last.clear();
    } else if (kind === "up") {
      if (this.cut) this.stream.stop(); // its connection may be dead, too
      this.cut = false;
      this.follow();
    }
    if (kind === "change") this.remember(body);
    else this.last.set(kind, kind === "history" ? { changes: body.changes.slice() } : body);
    this.send(kind, body, "events");
  }

  remember(change) {
    const { changes } = this.last.get("history") ?? { changes: [] };
    changes.push(change);
    if (changes.length > MOST_CHANGES) changes.splice(0, MOST_CHANGES / 4);
  }

  send(kind, body, what) {
    for (const [tell, page] of this.pages) if (page[what] || kind === "over") tell(kind, body);
  }

  forgetGone() {
    const before = performance.now() - GONE_MS;
    for (const [tell, { at }] of this.pages) if (at < before) this.pages.delete(tell);
    this.follow();
  }
}

// Returns { want(wants), restart() } of this page's link, shared with the other pages where the browser can.
export function link(tell, version) {
  const own = () => {
    const made = new Link();
    return { want: (wants) => made.want(tell, wants), restart: () => made.restart() };
  };
  if (!window.SharedWorker) return own();
  let instead = null;
  let wants = {};
  const worker = new SharedWorker(new URL("worker.js", import.meta.url), { type: "module", name: `picam-infer ${version}` });
  worker.port.onmessage = ({ data: { kind, body } }) => tell(kind, body);
  worker.onerror = () => {
    instead ??= own();
    instead.want(wants);
  };
  return {
    want(given) {
      wants = given;
      if (instead) instead.want(wants);
      else worker.port.postMessage({ wants });
    },
    restart() {
      if (instead) instead.restart();
      else worker.port.postMessage({ restart: true });
    },
  };
}
