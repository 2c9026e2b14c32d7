/** Make an element. Texts, also those of a visitor's files, become text and never markup. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === 'colour') made.style.background = value;
    else if (value !== '' && value != null) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== ''));
  return made;
}
