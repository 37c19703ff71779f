// The figures, and the machine's problems.

import { element, reconcile, write } from "./dom.js";
import { duration, rate } from "./text.js";

export function showFigures(list, findings, state) {
  const found = new Map(numbers(state).filter(([, value]) => value !== null && value !== undefined));
  for (const row of reconcile(list, [...found.keys()], makeRow)) write(row.lastChild, found.get(row.dataset.item));
  const remedies = state.machine.findings.map(({ what, remedy }) => `${what}: ${remedy}`);
  reconcile(findings, [...new Set(remedies)], (text) => element("li", { textContent: text }));
}

function makeRow(term) {
  return element("div", {}, element("dt", { textContent: term }), element("dd"));
}

function numbers(state) {
  const { result, machine, picture } = state;
  const clients = state.web?.clients ?? {};
  return [
    ["Engine", state.engine || "–"],
    ["Note", state.notice || null],
    ["Camera", picture ? `${picture.width} × ${picture.height}, ${rate(state.frames_per_s)} fps` : "–"],
    ["Results", `${rate(state.inferences_per_s)} a second`],
    ["One inference", result ? `${result.infer_ms.toFixed(1)} ms` : "–"],
    ["Sensor to result", result ? `${result.age_ms.toFixed(0)} ms` : "–"],
    ["Temperature", machine.temperature_c === null ? null : `${machine.temperature_c.toFixed(0)} °C`],
    ["Stick", state.stick_c ? `${state.stick_c.toFixed(0)} °C` : null],
    ["Memory", machine.memory_mb === null ? null : `${machine.memory_mb.toFixed(0)} MB`],
    ["Monitor", state.display || "none"],
    ["Damaged pictures", state.bad_frames ? String(state.bad_frames) : null],
    ["Flawed pictures", state.flawed_frames ? String(state.flawed_frames) : null],
    ["Viewers", String((clients.raw ?? 0) + (clients.drawn ?? 0))],
    ["Running for", duration(state.uptime_s)],
    ...outlets(state.events ?? []),
  ];
}

// Two outlets may have the same name.
function outlets(events) {
  const seen = new Map();
  return events.map((outlet) => {
    const number = (seen.get(outlet.name) ?? 0) + 1;
    seen.set(outlet.name, number);
    return [number > 1 ? `${outlet.name} (${number})` : outlet.name, outlet.reason || outlet.note || `${outlet.sent} sent`];
  });
}
