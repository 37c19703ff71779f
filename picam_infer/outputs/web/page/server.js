// Where the server is, and what it said last. All addresses are relative to this file, so that a proxy may put the
// page anywhere.

const ROOT = new URL("../", import.meta.url);
const PATIENCE_MS = 10000;

export function address(path) {
  return new URL(path, ROOT).href;
}

// Whether an answer says that the session is over (or, after too many old cookies, for how long); then the login form comes.
export function loggedOut(response) {
  const over = response?.status === 401 || response?.status === 429;
  if (over) location.reload();
  return over;
}

// Returns the answer's JSON; throws an Error whose message is for people.
export async function ask(path, method = "GET", body = undefined) {
  const init = { method, signal: AbortSignal.timeout(PATIENCE_MS) };
  if (body !== undefined) Object.assign(init, { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  let response, answer;
  try {
    response = await fetch(address(path), init);
    answer = await response.json();
  } catch {
    throw new Error("the Pi did not answer");
  }
  loggedOut(response);
  if (!response.ok) throw new Error([answer.error, answer.hint].filter(Boolean).join("; "));
  return answer;
}

// The stream of events: what changed, the newest result, the state once a second.
export class Events {
  // `on` has a function for each kind of event, and `up`, `down(full)` for the connection itself.
  constructor(on) {
    this.on = on;
    this.source = null;
    this.heard = 0;
  }

  open() {
    if (this.source) return;
    this.source = new EventSource(address("api/events"));
    this.heard = performance.now();
    for (const kind of ["history", "change", "result", "state"]) {
      this.source.addEventListener(kind, (event) => {
        this.heard = performance.now();
        this.on[kind](JSON.parse(event.data));
      });
    }
    this.source.onopen = () => this.on.up();
    this.source.onerror = () => this.failed();
  }

  close() {
    this.source?.close();
    this.source = null;
  }

  failed() {
    const source = this.source;
    this.on.down(false);
    // A browser gives up after an answer that is no stream: the login has expired, or there are too many watchers.
    if (source?.readyState === EventSource.CLOSED) setTimeout(() => this.again(source), 3000);
  }

  async again(source) {
    const response = await fetch(address("api/state"), { signal: AbortSignal.timeout(PATIENCE_MS) }).catch(() => null);
    if (loggedOut(response) || this.source !== source) return;
    if (response?.ok) this.on.down(true);
    this.close();
    this.open();
  }

  // A network that goes away without a word leaves a connection that looks alive for ever.
  check(silentMs) {
    if (!this.source || this.source.readyState === EventSource.CLOSED) return;
    if (performance.now() - this.heard < silentMs) return;
    this.close();
    this.on.down(false);
    this.open();
  }
}
