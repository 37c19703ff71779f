// Changes to the page that leave alone what stays as it was.

export const at = (id) => document.getElementById(id);

// Makes the children of `parent` those of `keys`, in order, without touching what stays: focus and selection survive.
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
  // What had the focus is gone: its neighbour takes over, not the top of the page.
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
