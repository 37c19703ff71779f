// How labels, shares and times are written.

export const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export function name(label) {
  return label === null || label === undefined ? "unknown" : label;
}

// Isolates a right-to-left name, which would otherwise reorder the text next to it.
export function apart(text) {
  return `\u2068${text}\u2069`;
}

// A probability in whole percent, rounded down: what is not certain is never "100 %". As `percent` in core.py.
export function percent(score) {
  return `${Math.floor(score * 100 + 1e-6)} %`; // 0.29 × 100 is a little less than 29
}

// A probability, or a value in its unit (undefined: a probability) with two decimals, or three digits if those show little.
export function figure(score, unit) {
  if (unit === undefined) return percent(score);
  const plain = score === 0 || (Math.abs(score) >= 0.01 && Math.abs(score) < 1e6);
  return `${plain ? score.toFixed(2) : String(Number(score.toPrecision(3)))} ${unit}`.trim();
}

// A result in one line: `text` and its `figure`. With several names at once, only the list has their figures.
export function headline(result) {
  if (result.unit !== undefined) return { text: `${result.label}:`, figure: figure(result.value, result.unit) };
  return { text: name(result.label), figure: result.label === null || result.labels?.length > 1 ? "" : percent(result.score) };
}

export function perSecond(pictures) {
  const whole = pictures.toFixed(0);
  return whole === "0" && pictures > 0 ? "less than 1 picture a second" : `${whole} ${whole === "1" ? "picture" : "pictures"} a second`;
}

// A rate as a number; one below 1 is not rounded to 0.
export function rate(perSecond) {
  return perSecond >= 1 || perSecond === 0 ? perSecond.toFixed(0) : String(Number(perSecond.toPrecision(perSecond >= 0.1 ? 1 : 2)));
}

// How long a choice of model lasts.
export function lasting(remembers) {
  return remembers ? "even after it has been switched off" : "until the program ends: it has no configuration file";
}

export function duration(seconds) {
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  return days ? `${days} d ${hours} h` : hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min` : `${Math.floor(seconds)} s`;
}

// A file's name for a picture: when it was taken and what was seen, in characters that every system accepts.
export function fileName(captured, label) {
  const two = (number) => String(number).padStart(2, "0");
  const at = new Date(captured * 1000);
  const day = `${at.getFullYear()}${two(at.getMonth() + 1)}${two(at.getDate())}`;
  const time = `${two(at.getHours())}${two(at.getMinutes())}${two(at.getSeconds())}-${String(at.getMilliseconds()).padStart(3, "0")}`;
  const plain = name(label).normalize("NFC").replace(/[^\p{L}\p{M}\p{N}\p{Extended_Pictographic} +-]+/gu, "-").trim();
  return `${day}-${time}_${[...plain].slice(0, 40).join("") || "unknown"}.jpg`;
}
