// All elements of a page share one connection, to the Headwater that this module was loaded from.

import { Connection } from "../connection.js";

const BASE = new URL("/", import.meta.url);
const NOT_ALLOWED = 403;

const feeds = new Map();
let connection = null;
let refused = false;
let asking = false;

/** A feed with the elements that show it, and what is known of it. */
class Feed {
  elements = new Set();
  watch = null;
  value = null; // the newest message with a value
  status = null;
  end = null;

  constructor(slug) {
    this.slug = slug;
  }

  /** The state that its elements show, and what there is to say about it. */
  get state() {
    if (this.end) return { name: this.end.code, words: this.end.message };
    if (refused) return { name: "refused", words: refusal() };
    if (this.watch.subscription.state !== "subscribed") {
      return { name: connection.state === "live" ? "connecting" : connection.state, words: connection.words };
    }
    const { state = "fresh", error = "", last_ok_at: lastOk = null } = this.status ?? {};
    return state === "fresh" ? { name: "live", words: "" } : { name: state, words: error, lastOk };
  }

  begin(token) {
    this.end = null;
    const known = this.value && { epoch: this.value.epoch, offset: this.value.offset };
    this.watch = connection.watch(this.slug, (message) => this.#receive(message), { known, token });
    // A connection that is lost before all feeds are back says nothing new of itself. It has said it by then.
    this.watch.subscription.on("subscribing", () => queueMicrotask(() => this.#showState()));
  }

  #showState() {
    for (const element of this.elements) element.showState();
  }

  #receive(message) {
    if (message.type === "error") this.end = message;
    else if (message.type === "status") this.status = message;
    else this.value = message;
    if (message === this.value) for (const element of this.elements) element.receive(message);
    this.#showState();
  }
}

/** Show a feed in an element, which is told by `receive` and `showState`. A token is for this feed. */
export function join(element, slug, token) {
  connection ??= open();
  let feed = feeds.get(slug);
  if (!feed) feeds.set(slug, (feed = new Feed(slug)));
  feed.elements.add(element);
  if (!feed.watch || feed.end) feed.begin(token);
  return feed;
}

/** Show it there no more. */
export function leave(element, feed) {
  feed.elements.delete(element);
  if (feed.elements.size) return;
  feeds.delete(feed.slug);
  connection.leave(feed.watch);
}

/** The newest publications of a feed, at most 300, oldest first. Rejects when there is no connection. */
export async function readPast(feed) {
  const { publications } = await feed.watch.subscription.history({ limit: -1, reverse: true });
  return publications.reverse().map(({ offset, data, tags }) => ({ offset, data, published_at: tags?.published_at }));
}

function open() {
  return new Connection(BASE, {
    onState: () => {
      if (connection?.state === "live") refused = false;
      showStates();
    },
    onTrouble: askWhy,
  });
}

function showStates() {
  for (const feed of feeds.values()) for (const element of feed.elements) element.showState();
}

const refusal = () => `${BASE.origin} lets no page of ${location.origin} connect. Its HEADWATER_ALLOWED_ORIGINS must name ${location.origin}.`;

/** A browser does not tell why a connection failed. Whether the server refuses this page's origin can be asked. */
async function askWhy() {
  if (asking || refused || location.origin === BASE.origin) return;
  asking = true;
  try {
    const { status } = await fetch(new URL("/emulation", BASE), { credentials: "omit" });
    if (status !== NOT_ALLOWED) return;
    refused = true;
    console.error(`Headwater: ${refusal()}`);
    showStates();
  } catch {
    // It does not answer at all: the connection is tried again by itself.
  } finally {
    asking = false;
  }
}
