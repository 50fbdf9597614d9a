// Keeps every <time data-ago> and <time data-until> of the page true, with one timer for all of them.

import { ago, moment, until } from "./format.js";
import { element, setText } from "./dom.js";

function tick() {
  if (document.hidden) return;
  const now = Date.now();
  for (const time of document.querySelectorAll("time[data-ago], time[data-until]")) {
    const then = Date.parse(time.dateTime);
    if (!Number.isNaN(then)) setText(time, "ago" in time.dataset ? ago(then, now) : until(then, now));
  }
}

/** A <time> that counts: kind "ago" or "until", `at` an ISO moment. */
export function timeElement(kind, at) {
  const then = Date.parse(at);
  const words = kind === "ago" ? ago(then) : until(then);
  return element("time", { [`data-${kind}`]: "", datetime: at, title: moment(then) }, words);
}

export function startClock() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const then = Date.parse(time.dateTime);
    if (Number.isNaN(then)) continue;
    time.title = moment(then);
    if ("local" in time.dataset) setText(time, time.title);
  }
  tick();
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", tick);
}
