// <live-value>: a feed's newest value as text. What stands in the element is shown until there is one.

import { element } from "../dom.js";
import { locale, number } from "../format.js";
import { LiveElement, valueAt } from "./liveelement.js";

const LONGEST = 400;
const MOST_DECIMALS = 20;

/** A value in words, as the element's attributes want it. */
export function wordsOf(value, decimals) {
  if (value === undefined || value === null) return "–";
  if (typeof value === "number") {
    const digits = Math.min(Math.trunc(decimals), MOST_DECIMALS);
    if (!(digits >= 0)) return number(value);
    return value.toLocaleString(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

export class LiveValue extends LiveElement {
  #value = element("span", { part: "value" }, element("slot"));
  #unit = element("span", { part: "unit" });
  #newest = null;

  constructor() {
    super();
    this.build(this.#value, this.#unit);
  }

  receive(message) {
    this.#newest = message;
    this.render();
  }

  reset() {
    this.#newest = null;
    this.#value.replaceChildren(element("slot"));
  }

  render() {
    this.#unit.textContent = this.getAttribute("unit") ?? "";
    if (!this.#newest) return;
    const decimals = this.hasAttribute("decimals") ? Number(this.getAttribute("decimals")) : NaN;
    this.#value.textContent = wordsOf(valueAt(this.#newest.data, this.getAttribute("path")), decimals);
  }
}
