export const get = (id) => document.getElementById(id);

/** Return what has a part painted with the next picture of the screen, once, however often it is asked for till then. */
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

/** Make an element. Texts, also those of a visitor's files, become text and never markup. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === 'colour') made.style.backgroundColor = value;
    else if (value != null) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== ''));
  return made;
}

/** Make a button that does something. */
export function button(act, attributes, ...children) {
  const made = element('button', { type: 'button', ...attributes }, ...children);
  made.addEventListener('click', act);
  return made;
}

/** Replace what is in a part of the page; a button in focus keeps that: the one with its key, or its words. */
export function replace(part, ...children) {
  const keyOf = (one) => one.dataset.key ?? one.textContent;
  const key = part.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  part.replaceChildren(...children);
  if (key != null) [...part.querySelectorAll('button')].find((one) => keyOf(one) === key)?.focus();
}
