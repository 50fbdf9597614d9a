// A feed's health in words; realtime/web/look.py and parts/health.html do the same on the server.

import { setText } from "./dom.js";
import { timeElement } from "./clock.js";

/**
 * status: {state, last_ok_at, next_poll_at, error}; shown in `root`'s .health and .health-error.
 */
export function showHealth(root, status) {
  const line = root.querySelector(".health");
  line.dataset.state = status.state;
  setText(line.querySelector("strong"), status.state);
  const words = [];
  if (status.last_ok_at) words.push(status.state === "fresh" ? "" : "last good ", timeElement("ago", status.last_ok_at));
  if (["failing", "stale"].includes(status.state) && status.next_poll_at) {
    words.push(words.length ? " · next try " : "next try ", timeElement("until", status.next_poll_at));
  }
  if (words.length === 0) words.push("no value yet");
  line.querySelector(".health-text").replaceChildren(...words);
  const error = root.querySelector(".health-error");
  const text = status.state === "fresh" ? "" : status.error;
  error.hidden = !text;
  error.title = text;
  setText(error, text);
}

/** The status as the server rendered it. */
export function healthOf(root) {
  const line = root.querySelector(".health");
  return {
    state: line.dataset.state,
    last_ok_at: line.querySelector("[data-ago]")?.dateTime ?? null,
    next_poll_at: line.querySelector("[data-until]")?.dateTime ?? null,
    error: root.querySelector(".health-error").textContent,
  };
}
