// What is live on a page, over one connection with the rights of whoever is signed in.

import { Connection } from "./connection.js";

const FORCED = 3503;

let connection = null;

/** A token of some minutes for whoever is signed in; nobody in particular gets one too. */
async function getToken() {
  const answer = await fetch("/connection/token", { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`no token: ${answer.status}`);
  return (await answer.json()).token;
}

function connect() {
  return new Connection(location.origin, {
    getToken,
    onState: (state, code, reason) => showConnection(state, code === FORCED ? "you have signed out, or your account was changed." : `${reason}.`),
  });
}

/**
 * Watch a feed over the page's connection; see `Connection.watch`. `known` is the {epoch, offset} that the page
 * shows. A feed that is refused shows as the end of the connection as well.
 */
export function watch(slug, onMessage, { known = null } = {}) {
  connection ??= connect();
  const receive = (message) => {
    if (message.code === "refused") showConnection("stopped", message.message);
    onMessage(message);
  };
  return connection.watch(slug, receive, { known });
}

/** The position that an element shows, if it says one. */
export function positionOf({ dataset: { epoch, offset } }) {
  return epoch ? { epoch, offset: Number(offset) } : null;
}

/** Watch no more what `watch` returned this for. */
export const leave = (watched) => connection.leave(watched);

const WORDS = {
  connecting: "connecting…",
  live: "live",
  reconnecting: "reconnecting…",
  offline: "offline",
};

/** Shows the connection's state in #connection, where the page has one, and why it ended if it did. */
export function showConnection(state, words) {
  const place = document.getElementById("connection");
  if (!place) return;
  place.hidden = false;
  place.dataset.state = state;
  place.querySelector(".connection-text").textContent = WORDS[state] ?? `stopped: ${words} Reload the page to try again.`;
}
