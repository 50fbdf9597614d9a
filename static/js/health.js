// A feed's health in words; realtime/web/look.py and parts/health.html do the same on the server.

import { element, setText } from "./dom.js";
import { timeElement } from "./clock.js";

/** Phrases that a narrow tile may break between, not within. */
function phrases({ state, last_ok_at: lastOk, next_poll_at: next }) {
  const waits = (state === "failing" || state === "stale") && next;
  const said = [];
  if (lastOk) {
    const before = state === "fresh" ? "" : "last good ";
    said.push(element("span", {}, before, timeElement("ago", lastOk), waits ? " ·" : ""), " ");
  }
  if (waits) said.push(element("span", {}, "next try ", timeElement("until", next)));
  return said.length ? said : ["no value yet"];
}

/**
 * status: {state, last_ok_at, next_poll_at, error}; shown in `root`'s .health and .health-error.
 */
export function showHealth(root, status) {
  const line = root.querySelector(".health");
  line.dataset.state = status.state;
  setText(line.querySelector("strong"), status.state);
  line.querySelector(".health-text").replaceChildren(...phrases(status));
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
