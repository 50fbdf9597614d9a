// A JSON document as a tree of buttons: each one picks its value by a JMESPath expression.

import { element } from "./dom.js";
import { brief } from "./value.js";

const AT_ONCE = 100;
const isNested = (value) => typeof value === "object" && value !== null;

/** `["features", 0, "mag"]` as `features[0].mag`; names that are no identifiers are quoted. */
export function expressionOf(path) {
  return path.reduce((text, step) => {
    if (typeof step === "number") return `${text}[${step}]`;
    const name = /^[A-Za-z_][A-Za-z0-9_]*$/.test(step) ? step : JSON.stringify(step);
    return text ? `${text}.${name}` : name;
  }, "");
}

/** Show `document` in `place`; `onPick(path, value)` is called for a clicked field. */
export function showTree(place, document, onPick) {
  if (isNested(document)) place.replaceChildren(branch(document, [], onPick, true));
  else place.replaceChildren(leaf("the whole answer", document, [], onPick));
}

function entries(value) {
  return Array.isArray(value) ? value.map((item, index) => [index, item]) : Object.entries(value);
}

function leaf(name, value, path, onPick) {
  const words = typeof value === "string" ? JSON.stringify(value.length > 200 ? `${value.slice(0, 200)}…` : value) : String(value);
  const button = element("button", { type: "button", class: "pick" }, element("span", { class: "key" }, `${name}: `), words);
  button.addEventListener("click", () => onPick(path, value));
  return button;
}

/** The children are made when the branch is first opened: a document may have a hundred thousand. */
function branch(value, path, onPick, open) {
  const name = path.length ? String(path.at(-1)) : "the whole answer";
  const whole = element("button", { type: "button", class: "pick whole", "aria-label": `Take all of ${expressionOf(path) || name}` }, "take all");
  whole.addEventListener("click", (event) => {
    event.preventDefault(); // not also opening the branch
    onPick(path, value);
  });
  const details = element("details", {}, element("summary", {}, element("span", { class: "key" }, name), brief(value), " ", whole));
  let filled = false;
  const fill = () => {
    if (filled) return;
    filled = true;
    details.append(children(entries(value), path, onPick));
  };
  details.addEventListener("toggle", () => details.open && fill());
  if (open) {
    fill();
    details.open = true;
  }
  return details;
}

function children(all, path, onPick) {
  const list = element("ul");
  const add = (from) => {
    for (const [step, value] of all.slice(from, from + AT_ONCE)) {
      const inner = [...path, step];
      const small = all.length <= 12 && path.length < 2;
      list.append(element("li", {}, isNested(value) ? branch(value, inner, onPick, small) : leaf(step, value, inner, onPick)));
    }
    const left = all.length - from - AT_ONCE;
    if (left <= 0) return;
    const more = element("button", { type: "button", class: "pick" }, `and ${left} more…`);
    const item = element("li", {}, more);
    more.addEventListener("click", () => {
      item.remove();
      add(from + AT_ONCE);
    });
    list.append(item);
  };
  add(0);
  return list;
}
