// Reads the camera's own pictures from a multipart stream.

import { loggedOut } from "./server.js";

const decoder = new TextDecoder("latin1");

export class PictureStream {
  // `tell("picture", { jpeg, head })` is called with each picture, `tell("over")` when the session is over.
  constructor(url, tell) {
    this.url = url;
    this.tell = tell;
    this.control = null;
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
  }

  async run(signal) {
    let wait = 500;
    while (!signal.aborted) {
      try {
        const response = await fetch(this.url, { signal, cache: "no-store" });
        if (loggedOut(response)) return this.tell("over");
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

  // Reads as fast as pictures arrive, so that none waits in between.
  async read(reader) {
    let rest = new Uint8Array(0);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const joined = new Uint8Array(rest.length + value.length);
      joined.set(rest);
      joined.set(value, rest.length);
      rest = this.parts(joined);
      if (rest.length > 64 << 20) throw new Error("this is not a stream of pictures");
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
      this.tell("picture", { head, jpeg: new Blob([bytes.subarray(end + 4, end + 4 + size)], { type: "image/jpeg" }) });
      bytes = bytes.subarray(end + 4 + size + 2);
    }
  }
}

function headEnd(bytes) {
  const most = Math.min(bytes.length - 3, 2048);
  for (let i = 0; i < most; i++) {
    if (bytes[i] === 13 && bytes[i + 1] === 10 && bytes[i + 2] === 13 && bytes[i + 3] === 10) return i;
  }
  return -1;
}
