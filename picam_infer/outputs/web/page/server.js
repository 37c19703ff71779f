// Requests to the server. All addresses are relative to this file, so that a proxy may put the
// page anywhere.

const ROOT = new URL("../", import.meta.url);
const PATIENCE_MS = 10000;

export function address(path) {
  return new URL(path, ROOT).href;
}

// Whether a response means that the session is over (429: after too many expired cookies).
export function loggedOut(response) {
  return response?.status === 401 || response?.status === 429;
}

// On the page; it then reloads to the login form.
export function leaveWhenLoggedOut(response) {
  if (loggedOut(response)) location.reload();
  return loggedOut(response);
}

// Returns the response's JSON; throws an Error with a message for people.
export async function ask(path, method = "GET", body = undefined, patience_ms = PATIENCE_MS) {
  const init = { method, signal: AbortSignal.timeout(patience_ms) };
  if (body !== undefined) Object.assign(init, { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  let response, answer;
  try {
    response = await fetch(address(path), init);
    answer = await response.json();
  } catch {
    throw new Error("the Pi did not answer");
  }
  leaveWhenLoggedOut(response);
  if (!response.ok) throw new Error([answer.error, answer.hint].filter(Boolean).join("; "));
  return answer;
}
