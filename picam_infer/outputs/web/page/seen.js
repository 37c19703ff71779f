// What is seen now: the label, the most probable classes, and announcements for screen readers.

import { element, write } from "./dom.js";
import { apart, figure, headline, name } from "./text.js";

const LASTING_MS = 1500;
const QUIET_MS = 3000;

export class Seen {
  constructor(label, bars) {
    Object.assign(this, { label, bars });
    new ResizeObserver(() => this.reachable()).observe(bars);
  }

  show(result, threshold) {
    const { label, bars } = this;
    write(label, !result ? "–" : result.unit === undefined ? name(result.label) : value(result));
    label.className = result ? (result.label === null ? "unknown" : "") : "stale";
    label.dataset.size = label.textContent.length > 36 ? "small" : label.textContent.length > 12 ? "medium" : "large";
    const top = result ? result.top : [];
    while (bars.children.length < top.length) bars.append(bar());
    while (bars.children.length > top.length) bars.lastChild.remove();
    top.forEach(({ label: text, score, unit }, number) => {
      const item = bars.children[number];
      write(item.querySelector(".name"), text);
      write(item.querySelector(".percent"), figure(score, unit));
      item.querySelector(".bar").hidden = unit !== undefined; // a value has no maximum that a bar could reach
      item.querySelector("i").style.transform = `scaleX(${score})`;
      item.querySelector("b").style.left = `${threshold * 100}%`;
    });
    const names = top.map(({ label: text }) => text).join("\n"); // longer ones take more lines
    if (names !== this.names) this.reachable();
    this.names = names;
  }

  // Only a list that scrolls can be reached with Tab.
  reachable() {
    const { bars } = this;
    if (bars.scrollHeight > bars.clientHeight + 1) bars.tabIndex = 0;
    else bars.removeAttribute("tabindex");
  }
}

function value(result) {
  const { text, figure: number } = headline(result);
  return `${apart(text)} ${number}`;
}

function bar() {
  const made = element("li", {}, element("span", { className: "name", dir: "auto" }), element("span", { className: "percent" }),
    element("span", { className: "bar" }, element("i"), element("b")));
  made.lastChild.setAttribute("aria-hidden", "true");
  return made;
}

// Announces to screen readers only what has lasted a while, and not too often: a flickering label would never stop talking.
export class Announcer {
  constructor(region) {
    this.region = region;
    this.text = "";
    this.since = 0;
    this.spoke = -QUIET_MS;
  }

  // Called again and again with the current text.
  say(text) {
    const moment = performance.now();
    if (text !== this.text) Object.assign(this, { text, since: moment });
    if (this.region.textContent === text || moment - this.since < LASTING_MS || moment - this.spoke < QUIET_MS) return;
    this.region.textContent = text;
    this.spoke = moment;
  }
}
