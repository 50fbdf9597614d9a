// One WebSocket for all feeds of a page: resumes from the last position, so that nothing is missed or doubled.

const PING_EVERY_MS = 20_000;
const PONG_WITHIN_MS = 10_000;
const CHECK_WITHIN_MS = 3_000; // after a sleep, an open socket is believed only if it answers at once
const FIRST_BACKOFF_MS = 500;
const LONGEST_BACKOFF_MS = 20_000;
const STABLE_AFTER_MS = 5_000;
const NOT_FOUND = 4404;

/** Close codes that say "do not come back like this"; 4408, too slow, says "resume". */
const isFinal = (code) => code >= 4400 && code < 4500 && code !== 4408;

/**
 * positions   Map of slug to {epoch, offset}; kept up to date here
 * onMessage   called with each message of a feed, in order, none twice; `reborn` is added to those with a value
 * onState     called with "connecting", "live", "reconnecting", "offline" or "stopped", and words for the last
 */
export class Live {
  #socket = null;
  #timer = 0;
  #pingTimer = 0;
  #pongTimer = 0;
  #attempt = 0;
  #refusal = "";
  #stopped = false;

  constructor(positions, onMessage, onState) {
    this.positions = positions;
    this.onMessage = onMessage;
    this.onState = onState;
    addEventListener("online", () => this.#wake());
    addEventListener("offline", () => this.#drop());
    addEventListener("pageshow", () => this.#wake());
    document.addEventListener("resume", () => this.#wake());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#wake();
    });
    this.onState("connecting");
    this.#connect();
  }

  #address() {
    const url = new URL("/ws/feeds/", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const feeds = [...this.positions].map(([slug, { epoch, offset }]) => `feed=${encodeURIComponent(slug)}${epoch ? `@${epoch}:${offset}` : ""}`);
    return `${url}?${feeds.join("&")}`;
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#refusal = "";
    const socket = new WebSocket(this.#address());
    this.#socket = socket;
    let openedAt = 0;
    socket.onopen = () => {
      openedAt = performance.now();
      this.#pingTimer = setInterval(() => this.#ping(PONG_WITHIN_MS), PING_EVERY_MS);
    };
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#receive(JSON.parse(data));
    };
    socket.onclose = ({ code, reason }) => {
      if (socket !== this.#socket) return;
      if (openedAt && performance.now() - openedAt > STABLE_AFTER_MS) this.#attempt = 0;
      this.#leave();
      if (isFinal(code)) {
        this.#stop(code, this.#refusal || reason || "the server closed this connection");
      } else {
        this.#retry();
      }
    };
  }

  #receive(message) {
    if (message.type === "pong") {
      clearTimeout(this.#pongTimer);
      this.#pongTimer = 0;
      return;
    }
    if (message.type === "error" && message.code !== "gone") {
      this.#refusal = message.message;
      return;
    }
    if (message.type === "update" || message.type === "snapshot" || message.type === "reset") {
      const known = this.positions.get(message.feed);
      if (!known) return;
      // A reset of the same epoch only skips: what was shown before is still this feed's past.
      message.reborn = Boolean(known.epoch) && known.epoch !== message.epoch;
      if (message.type === "update" && known.epoch === message.epoch && message.offset <= known.offset) return;
      this.positions.set(message.feed, { epoch: message.epoch, offset: message.offset });
    }
    if (message.code === "gone") this.positions.delete(message.feed);
    // Only now: a socket is accepted before it is known whether it may stay.
    this.onState("live");
    this.onMessage(message);
  }

  /** The server does not want us back like this. A feed that is gone must not take the others with it. */
  async #stop(code, words) {
    this.#stopped = true;
    if (code === NOT_FOUND && (await this.#forgetMissing())) {
      this.#stopped = false;
      this.#retry();
    } else {
      this.onState("stopped", words);
    }
  }

  /** Whether some feeds turned out to be gone while others are left. */
  async #forgetMissing() {
    try {
      const { feeds, total } = await (await fetch("/api/feeds?limit=1000")).json();
      if (total > feeds.length) return false; // this list proves nothing
      const there = new Set(feeds.map((feed) => feed.slug));
      const missing = [...this.positions.keys()].filter((slug) => !there.has(slug));
      for (const feed of missing) {
        this.positions.delete(feed);
        this.onMessage({ type: "error", code: "gone", feed });
      }
      return missing.length > 0 && this.positions.size > 0;
    } catch {
      return false;
    }
  }

  #ping(within) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#socket.send('{"type":"ping"}');
    if (!this.#pongTimer) {
      this.#pongTimer = setTimeout(() => {
        this.#leave();
        this.#retry(0);
      }, within);
    }
  }

  /** The tab is seen again or the network is back: what is open must prove it, what waits goes now. */
  #wake() {
    if (this.#stopped) return;
    const state = this.#socket?.readyState;
    if (state === WebSocket.CONNECTING) return;
    if (state === WebSocket.OPEN) {
      clearTimeout(this.#pongTimer);
      this.#pongTimer = 0;
      this.#ping(CHECK_WITHIN_MS);
    } else {
      this.#connect();
    }
  }

  #drop() {
    if (this.#stopped) return;
    this.#leave();
    this.#retry();
  }

  /** Forget the socket without waiting for its end: a dead one's close can take minutes. */
  #leave() {
    clearInterval(this.#pingTimer);
    clearTimeout(this.#pongTimer);
    this.#pongTimer = 0;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** Exponential back-off with full jitter: a thousand pages must not come back in the same moment. */
  #retry(atMost = Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** this.#attempt)) {
    this.#attempt += 1;
    // A browser without any network says that it is offline, and still reaches a server on its own machine.
    this.onState(navigator.onLine ? "reconnecting" : "offline");
    clearTimeout(this.#timer);
    if (this.positions.size) this.#timer = setTimeout(() => this.#connect(), 100 + Math.random() * atMost);
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
  if (place.dataset.state === state && !place.hidden) return;
  place.hidden = false;
  place.dataset.state = state;
  place.querySelector(".connection-text").textContent = WORDS[state] ?? `stopped: ${words} Reload the page to try again.`;
}
