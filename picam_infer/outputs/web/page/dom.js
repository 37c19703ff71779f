// Changes the page without touching what stays the same.

export const at = (id) => document.getElementById(id);

// Gives `parent` one child for each of `keys`, in order. Those that stay are not touched, so that focus and selection survive.
export function reconcile(parent, keys, make) {
  const there = new Map([...parent.children].map((child) => [child.dataset.item, child]));
  const focused = parent.contains(document.activeElement) ? [...parent.children].findIndex((child) => child.contains(document.activeElement)) : -1;
  const wanted = keys.map((key) => {
    const child = there.get(key) ?? make(key);
    child.dataset.item = key;
    there.delete(key);
    return child;
  });
  const moves = focused >= 0 && there.has(parent.children[focused].dataset.item);
  for (const gone of there.values()) gone.remove();
  wanted.forEach((child, at) => {
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
  // The focused child is gone: focus its neighbour, not the top of the page.
  if (moves && wanted.length) wanted[Math.min(focused, wanted.length - 1)].querySelector("a, button, input, select")?.focus();
  return wanted;
}

export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
