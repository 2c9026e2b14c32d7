export const get = (id) => document.getElementById(id);

/** Return a function that calls `paint` in the next animation frame, once, even if it is called several times. */
export function onFrame(paint) {
  let isDue = false;
  return () => {
    if (!isDue) requestAnimationFrame(() => {
      isDue = false;
      paint();
    });
    isDue = true;
  };
}

/** Make an element. Strings, also those from a visitor's files, become text, never markup. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === 'colour') made.style.backgroundColor = value;
    else if (value != null) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== ''));
  return made;
}

/** Make a button that calls `act`. */
export function button(act, attributes, ...children) {
  const made = element('button', { type: 'button', ...attributes }, ...children);
  made.addEventListener('click', act);
  return made;
}

/** Replace the content of a part of the page; focus stays on the button with the same key or text. */
export function replace(part, ...children) {
  const keyOf = (one) => one.dataset.key ?? one.textContent;
  const key = part.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  part.replaceChildren(...children);
  if (key != null) [...part.querySelectorAll('button')].find((one) => keyOf(one) === key)?.focus();
}
