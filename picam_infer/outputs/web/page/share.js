// Opens the page to the network, and shows the QR code that lets a phone in.

import { element, reconcile, write } from "./dom.js";
import { ask } from "./server.js";

const MODULE_PX = 6;

export class Share {
  // `at` finds the card's elements by id.
  constructor(at) {
    this.at = at;
    this.ends = 0;
    at("share-open").addEventListener("click", () => this.do(() => this.open()));
    at("share-code").addEventListener("click", () => this.do(() => this.showCode()));
    at("share-close").addEventListener("click", () => this.do(async () => this.follow(await ask("api/share", "POST", { open: false }))));
  }

  // `share` is from the state.
  follow(share) {
    if (!share) return;
    const { at } = this;
    write(at("share-text"), share.fault ? `It cannot be opened: ${share.fault}` : share.shared ? `The page is ${share.text}.`
      : share.open ? "The configuration (web.listen) opens the page to the network." : "Only the Pi itself can see this page now.");
    at("share-open").hidden = at("share-time").hidden = share.open;
    at("share-code").hidden = !share.open;
    at("share-close").hidden = !share.shared;
    if (!share.open || Date.now() > this.ends) at("share-qr").hidden = true;
  }

  async open() {
    const time = this.at("share-for").value;
    this.follow(await ask("api/share", "POST", { open: true, for_s: time ? Number(time) : null }));
    await this.showCode();
  }

  async showCode() {
    const { links, qr, ends_in_s } = await ask("api/share/invitation", "POST", {});
    this.ends = Date.now() + ends_in_s * 1000;
    draw(this.at("share-modules"), qr);
    reconcile(this.at("share-links"), links, (link) => element("li", {}, element("code", { textContent: link })));
    this.at("share-qr").hidden = false;
  }

  async do(what) {
    try {
      await what();
      write(this.at("share-note"), "");
    } catch (error) {
      write(this.at("share-note"), error.message);
    }
  }
}

// Dark on light, whatever the page's colours are: many phones cannot read the opposite.
function draw(canvas, rows) {
  canvas.width = canvas.height = rows.length * MODULE_PX;
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = "#000";
  rows.forEach((row, y) => [...row].forEach((module, x) => {
    if (module === "1") pen.fillRect(x * MODULE_PX, y * MODULE_PX, MODULE_PX, MODULE_PX);
  }));
}
