// What the network sees, fetched while somebody looks at the page.

import { address, leaveWhenLoggedOut } from "./server.js";

const PAUSE_MS = 500;

export class NetworkInput {
  constructor(figure, image) {
    Object.assign(this, { figure, image });
    this.timer = 0;
    this.wanted = false;
  }

  follow(wanted) {
    if (wanted === this.wanted) return;
    this.wanted = wanted;
    clearTimeout(this.timer);
    if (wanted) this.next();
  }

  async next() {
    try {
      const response = await fetch(address("input.png"), { cache: "no-store", signal: AbortSignal.timeout(5000) });
      if (leaveWhenLoggedOut(response)) return;
      const blob = response.status === 200 ? await response.blob() : null;
      if (this.wanted) await this.show(blob);
    } catch (error) {
      console.debug(error); // the next one may come
    }
    if (this.wanted) this.timer = setTimeout(() => this.next(), PAUSE_MS);
  }

  async show(blob) {
    const before = this.image.src;
    this.figure.hidden = blob === null;
    if (blob) this.image.src = URL.createObjectURL(blob);
    else this.image.removeAttribute("src");
    if (before) URL.revokeObjectURL(before);
  }
}
