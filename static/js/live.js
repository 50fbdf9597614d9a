// A page's feeds, live over one connection with the rights of whoever is signed in.

import { Connection } from "./connection.js";

const FORCED = 3503;

/** A token of some minutes for whoever is signed in; nobody in particular gets one too. */
async function getToken() {
  const answer = await fetch("/connection/token", { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`no token: ${answer.status}`);
  return (await answer.json()).token;
}

/**
 * positions   Map of slug to the {epoch, offset} that the page shows
 * onMessage   called with each message of a feed: see `Connection.watch`
 */
export function goLive(positions, onMessage) {
  const connection = new Connection(location.origin, {
    getToken,
    onState: (state, code, reason) => showConnection(state, code === FORCED ? "you have signed out, or your account was changed." : `${reason}.`),
  });
  for (const [slug, known] of positions) {
    connection.watch(
      slug,
      (message) => {
        if (message.code === "refused") showConnection("stopped", message.message);
        else onMessage(message);
      },
      { known },
    );
  }
}

const WORDS = {
  connecting: "connecting…",
  live: "live",
  reconnecting: "reconnecting…",
  offline: "offline",
};

/** Shows the connection's state in #connection, and why it ended if it did. */
export function showConnection(state, words) {
  const place = document.getElementById("connection");
  place.hidden = false;
  place.dataset.state = state;
  place.querySelector(".connection-text").textContent = WORDS[state] ?? `stopped: ${words} Reload the page to try again.`;
}
