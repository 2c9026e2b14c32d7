/** Make an element. Texts, also those of a visitor's files, become text and never markup. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === 'colour') made.style.backgroundColor = value;
    else if (value !== '' && value != null) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== ''));
  return made;
}

/** Replace what is in a part of the page; a button in focus keeps that: the one with its key, or its words. */
export function replace(part, ...children) {
  const keyOf = (button) => button.dataset.key ?? button.textContent;
  const key = part.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  part.replaceChildren(...children);
  if (key != null) [...part.querySelectorAll('button')].find((button) => keyOf(button) === key)?.focus();
}
