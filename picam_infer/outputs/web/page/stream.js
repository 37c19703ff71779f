// The camera's own pictures out of a multipart stream: the newest only, each decoded by the browser.

import { loggedOut } from "./server.js";

const decoder = new TextDecoder("latin1");

export class PictureStream {
  // `draw(bitmap, jpeg, head)` is called with the newest picture, never with an older one later; the bitmap is its to close.
  constructor(url, draw) {
    this.url = url;
    this.draw = draw;
    this.control = null;
    this.newest = null;
    this.decoding = false;
  }

  get running() {
    return this.control !== null;
  }

  start() {
    if (this.running) return;
    this.control = new AbortController();
    this.run(this.control.signal);
  }

  stop() {
    this.control?.abort();
    this.control = null;
    this.newest = null;
  }

  async run(signal) {
    let wait = 500;
    while (!signal.aborted) {
      try {
        const response = await fetch(this.url, { signal, cache: "no-store" });
        if (loggedOut(response)) return;
        if (response.ok) {
          wait = 500;
          await this.read(response.body.getReader());
        }
      } catch (error) {
        if (signal.aborted) return;
      }
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait = Math.min(wait * 2, 5000);
    }
  }

  // Reads as fast as pictures come, so that none waits on the way; what is not decoded in time is left out.
  async read(reader) {
    let rest = new Uint8Array(0);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const joined = new Uint8Array(rest.length + value.length);
      joined.set(rest);
      joined.set(value, rest.length);
      rest = this.parts(joined);
      if (rest.length > 64 << 20) throw new Error("this is no stream of pictures");
    }
  }

  parts(bytes) {
    for (;;) {
      const end = headEnd(bytes);
      if (end < 0) return bytes;
      const head = Object.fromEntries(decoder.decode(bytes.subarray(0, end)).split("\r\n").slice(1)
        .map((line) => line.split(": ", 2)).map(([name, value]) => [name.toLowerCase(), value]));
      const size = Number(head["content-length"]);
      if (bytes.length < end + 4 + size + 2) return bytes;
      this.newest = { head, data: bytes.slice(end + 4, end + 4 + size) };
      this.decode();
      bytes = bytes.subarray(end + 4 + size + 2);
    }
  }

  async decode() {
    if (this.decoding) return;
    this.decoding = true;
    while (this.newest && this.running) {
      const { head, data } = this.newest;
      this.newest = null;
      const jpeg = new Blob([data], { type: "image/jpeg" });
      try {
        const bitmap = await createImageBitmap(jpeg);
        if (this.running) this.draw(bitmap, jpeg, head);
        else bitmap.close();
      } catch (error) {
        console.debug("a damaged picture", error);
      }
    }
    this.decoding = false;
  }
}

function headEnd(bytes) {
  const most = Math.min(bytes.length - 3, 2048);
  for (let i = 0; i < most; i++) {
    if (bytes[i] === 13 && bytes[i + 1] === 10 && bytes[i + 2] === 13 && bytes[i + 3] === 10) return i;
  }
  return -1;
}
