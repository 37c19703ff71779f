// Runs the link for all pages of this browser.

import { Link } from "./link.js";

const link = new Link();

self.addEventListener("connect", ({ ports: [port] }) => {
  const tell = (kind, body) => port.postMessage({ kind, body });
  port.onmessage = ({ data }) => {
    if (data.restart) link.restart();
    else link.want(tell, data.wants);
  };
});
