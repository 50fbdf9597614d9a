// How a value looks in a few words; realtime/web/look.py and parts/value.html do the same on the server.

import { number } from "./format.js";
import { element } from "./dom.js";

const PAIRS = 4;
const SHORT = 48;
const LONGEST = 400;

const isNested = (value) => typeof value === "object" && value !== null;

/** Whether a value can be drawn in a chart. */
export const isNumber = (value) => typeof value === "number" && Math.abs(value) < 1e300;

/** A value in a few characters. */
export function brief(value) {
  if (typeof value === "number") return number(value);
  if (typeof value === "string") return value.slice(0, 60);
  if (Array.isArray(value)) return `[${value.length}]`;
  return isNested(value) ? `{${Object.keys(value).length}}` : String(value);
}

function parts(value) {
  if (value === null) return [element("p", { class: "none" }, "null")];
  if (typeof value === "number") return [element("p", { class: "number" }, number(value))];
  if (typeof value === "string") {
    if (!value.trim()) return [element("p", { class: "none" }, "empty text")];
    const kind = [...value].length <= SHORT ? "text" : "text long";
    return [element("p", { class: kind }, value.slice(0, LONGEST))];
  }
  if (Array.isArray(value)) {
    const items = value.length === 1 ? "item" : "items";
    return [element("p", { class: "number" }, number(value.length)), element("p", { class: "more" }, items)];
  }
  return isNested(value) ? objectParts(value) : [element("p", { class: "text" }, String(value))];
}

function objectParts(value) {
  const fields = Object.entries(value).sort((a, b) => isNested(a[1]) - isNested(b[1]));
  if (fields.length === 0) return [element("p", { class: "more" }, "empty object")];
  const list = element("dl", { class: "summary-list" });
  for (const [name, field] of fields.slice(0, PAIRS)) {
    list.append(element("dt", {}, name.slice(0, 60)), element("dd", {}, brief(field)));
  }
  const more = fields.length - PAIRS;
  return more > 0 ? [list, element("p", { class: "more" }, `and ${more} more`)] : [list];
}

/** Show a value in `target`. A number over a number only changes its digits. */
export function showValue(target, value) {
  const digits = target.querySelector(":scope > .number:only-child");
  if (digits && typeof value === "number") digits.textContent = number(value);
  else target.replaceChildren(...parts(value));
}
