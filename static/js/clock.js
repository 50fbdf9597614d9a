// Keeps every <time data-ago> and <time data-until> of the page true, with one timer for all of them.

import { ago, moment, until } from "./format.js";
import { element, setText } from "./dom.js";

function count(time, now) {
  const then = Date.parse(time.dateTime);
  if (Number.isNaN(then)) return;
  if ("ago" in time.dataset) setText(time, ago(then, now));
  else if ("until" in time.dataset) setText(time, until(then, now));
}

function tick() {
  if (document.hidden) return;
  const now = Date.now();
  for (const time of document.querySelectorAll("time[data-ago], time[data-until]")) count(time, now);
}

/** A <time> that counts: kind "ago" or "until", `at` an ISO moment. */
export function timeElement(kind, at) {
  const then = Date.parse(at);
  const words = kind === "ago" ? ago(then) : until(then);
  return element("time", { [`data-${kind}`]: "", datetime: at, title: moment(then) }, words);
}

/** Tell the times below `root` in the reader's own zone and, where they count, from now. */
export function tellTimes(root) {
  const now = Date.now();
  for (const time of root.querySelectorAll("time[datetime]")) {
    const then = Date.parse(time.dateTime);
    if (Number.isNaN(then)) continue;
    time.title = moment(then);
    if ("local" in time.dataset) setText(time, time.title);
    else count(time, now);
  }
}

let started = false;

/** Begin, once for the page, whoever asks. */
export function startClock() {
  if (started) return;
  started = true;
  tellTimes(document);
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", tick);
}
