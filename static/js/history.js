// A feed's past for the chart, from the HTTP API, and which numbers a value holds.

import { isNumber } from "./value.js";

const PAGE = 1000;
const MOST_PAGES = 20;
const DEEPEST = 4;
const MOST_FIELDS = 60;

/** The paths of all numbers in a value, [] for the value itself, in its own order. */
export function numericPaths(value, path = []) {
  if (isNumber(value)) return [path];
  if (typeof value !== "object" || value === null || Array.isArray(value) || path.length >= DEEPEST) return [];
  return Object.keys(value)
    .flatMap((key) => numericPaths(value[key], [...path, key]))
    .slice(0, MOST_FIELDS);
}

/** The number at a path, or null where there is none. */
export function numberAt(value, path) {
  const found = path.reduce((inner, key) => inner?.[key], value);
  return isNumber(found) ? found : null;
}

/**
 * All publications of the last `seconds` (0: all that are kept), oldest first, read backwards page by page.
 * Rejects when the API does not answer, and with an AbortError when `signal` says so.
 */
export async function readHistory(slug, seconds, signal) {
  const start = seconds ? new Date(Date.now() - seconds * 1000).toISOString() : "";
  const pages = [];
  let epoch = "";
  let before = "";
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const query = new URLSearchParams({ limit: PAGE, ...(start && { start }), ...(before && { before }) });
    const answer = await fetch(`/api/feeds/${encodeURIComponent(slug)}/history?${query}`, { signal });
    if (!answer.ok) throw new Error(`the history answered ${answer.status}`);
    const { epoch: now, publications } = await answer.json();
    if (epoch && now !== epoch) break; // reborn meanwhile: what follows is of another life
    pages.unshift(publications);
    if (publications.length === 0 || publications[0].offset === 1) break;
    // By offset, not by time: many may be published in one millisecond.
    [epoch, before] = [now, publications[0].offset];
  }
  return pages.flat();
}
