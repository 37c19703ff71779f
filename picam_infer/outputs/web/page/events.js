// The event stream: what changed, the newest result, and the state once a second.

import { address, loggedOut } from "./server.js";

const PATIENCE_MS = 10000;
const KINDS = ["history", "change", "result", "teach", "state"];

export class Events {
  // `tell(kind, body)` is called with each event, and for the connection itself with `up`, `down` (`body`: whether there
  // are too many viewers) and `over` (the session has expired).
  constructor(tell) {
    this.tell = tell;
    this.source = null;
  }

  open() {
    if (this.source) return;
    this.source = new EventSource(address("api/events"));
    for (const kind of KINDS) this.source.addEventListener(kind, (event) => this.tell(kind, JSON.parse(event.data)));
    this.source.onopen = () => this.tell("up");
    this.source.onerror = () => this.failed();
  }

  close() {
    this.source?.close();
    this.source = null;
  }

  failed() {
    const source = this.source;
    this.tell("down", { full: false });
    // Browsers give up after a response that is not a stream: the session has expired, or there are too many viewers.
    if (source?.readyState === EventSource.CLOSED) setTimeout(() => this.again(source), 3000);
  }

  async again(source) {
    const response = await fetch(address("api/state"), { signal: AbortSignal.timeout(PATIENCE_MS) }).catch(() => null);
    if (loggedOut(response)) return this.tell("over");
    if (this.source !== source) return;
    if (response?.ok) this.tell("down", { full: true });
    this.close();
    this.open();
  }
}
