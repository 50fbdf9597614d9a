// Building elements from data. Data only ever becomes text, never markup.

/** element("p", {class: "text", title}, "words", child) */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** Set the text only where it differs, so that nothing is repainted or announced in vain. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}
