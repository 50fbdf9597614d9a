// One connection to a Headwater for any number of feeds: nothing is missed or doubled while it comes and goes.

import { Centrifuge } from "./sdk.js";

const CHECK_WITHIN_MS = 3_000; // after a sleep, an open connection is believed only if it answers at once
const FIRST_BACKOFF_MS = 300;
const LONGEST_BACKOFF_MS = 20_000;
const TIMEOUT = 1;
const GONE = 2000;
const UNKNOWN_CHANNEL = 102;

/** What the protocol calls a feed: a live query by its own name. */
const channelOf = (slug) => (slug.startsWith("query:") ? slug : `feed:${slug}`);

/** Where WebSockets do not pass, HTTP does. */
function transports(base) {
  const socket = new URL("/connection/websocket", base);
  socket.protocol = socket.protocol === "https:" ? "wss:" : "ws:";
  const streams = ["http_stream", "sse"].map((name) => ({ transport: name, endpoint: new URL(`/connection/${name}`, base).href }));
  return [{ transport: "websocket", endpoint: socket.href }, ...streams];
}

export class Connection {
  #client;
  #onState;
  #watched = new Set();
  #state = "";
  #words = "";
  #wasLive = false;
  #quiet = false;
  #checking = false;
  #failed = false; // the last attempt to connect has; the next one waits

  /**
   * base       address of the Headwater
   * onState    called with "connecting", "live" (all feeds are watched), "reconnecting", "offline" or "stopped";
   *            with the last, the protocol's code and words
   * getToken   asked for a connection's token when one is needed; without it, nobody in particular connects
   * onTrouble  called whenever an attempt to connect has failed
   */
  constructor(base, { onState, getToken = null, onTrouble = () => {} }) {
    this.#onState = onState;
    this.#client = new Centrifuge(transports(base), {
      emulationEndpoint: new URL("/emulation", base).href,
      getToken,
      minReconnectDelay: FIRST_BACKOFF_MS,
      maxReconnectDelay: LONGEST_BACKOFF_MS,
    })
      .on("connecting", () => this.#sayWaiting())
      .on("connected", () => {
        this.#failed = false;
        this.#sayLive();
      })
      .on("disconnected", ({ code, reason }) => {
        if (!this.#quiet) this.#say("stopped", code, reason);
      })
      .on("message", ({ data }) => {
        for (const watch of this.#watched) if (watch.slug === data.feed) watch.onMessage(data);
      })
      .on("error", () => {
        this.#failed = true;
        onTrouble();
      });
    addEventListener("online", () => this.#sayWaiting());
    addEventListener("offline", () => this.#sayWaiting());
    document.addEventListener("resume", () => this.#check());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#check();
    });
  }

  get state() {
    return this.#state;
  }

  /** Why it has stopped, if it has. */
  get words() {
    return this.#words;
  }

  /**
   * Watch a feed, which nobody else does on this connection, and connect.
   *
   * known      {epoch, offset} of the value that is shown already; without it, the newest value comes first
   * token      a subscription token for this feed
   * onMessage  called with each message, in order, none twice: `snapshot`, `update` and `reset` have a value, and
   *            `reborn` where the feed is another one of the same name; `status` its health; `error` is the end,
   *            with the code "gone" or "refused"
   *
   * Returns what `leave` takes.
   */
  watch(slug, onMessage, { known = null, token = "" } = {}) {
    const subscription = this.#client.newSubscription(channelOf(slug), {
      ...(known?.epoch && { since: known }),
      ...(token && { token }),
      ...{ positioned: true, recoverable: true, delta: "fossil", data: { full: true } },
    });
    const watch = { slug, onMessage, subscription };
    let { epoch, offset } = known ?? { epoch: "", offset: 0 };
    let type = "update";
    let reborn = false;
    subscription
      .on("subscribed", ({ streamPosition, recovered, hasRecoveredPublications, data }) => {
        const before = epoch;
        epoch = streamPosition.epoch;
        // To start over within one epoch only skips: what was shown before is still this feed's past.
        if (before !== epoch) [reborn, offset] = [Boolean(before), 0];
        if (!recovered && hasRecoveredPublications) type = before ? "reset" : "snapshot";
        // After the publications, which are told in this same turn.
        if (data) queueMicrotask(() => onMessage(data));
        this.#sayLive();
      })
      .on("publication", (publication) => {
        if (type === "update" && publication.offset <= offset) return;
        offset = publication.offset;
        const message = { type, feed: slug, epoch, offset, published_at: publication.tags?.published_at, data: publication.data, reborn };
        type = "update";
        reborn = false;
        onMessage(message);
      })
      .on("unsubscribed", ({ code, reason }) => {
        if (!this.#watched.has(watch)) return; // it was left
        this.leave(watch);
        if (!this.#watched.size) this.#say("stopped", code, "nothing that was live here is there for you any more");
        if (code === GONE || code === UNKNOWN_CHANNEL) {
          onMessage({ type: "error", code: "gone", feed: slug, message: `There is no feed ${slug} any more, or it is not yours to read.` });
        } else {
          onMessage({ type: "error", code: "refused", feed: slug, message: reason });
        }
      });
    this.#watched.add(watch);
    subscription.subscribe();
    this.#client.connect();
    return watch;
  }

  /** Watch it no more. Without any feed, there is no connection. */
  leave(watch) {
    if (!this.#watched.delete(watch)) return;
    this.#client.removeSubscription(watch.subscription);
    if (this.#watched.size) this.#sayLive();
    else this.#quietly(() => this.#client.disconnect());
  }

  #quietly(act) {
    this.#quiet = true;
    act();
    this.#quiet = false;
  }

  #say(state, code = 0, words = "") {
    if (state === this.#state) return;
    [this.#state, this.#words] = [state, words];
    this.#wasLive ||= state === "live";
    this.#onState(state, code, words);
  }

  #sayLive() {
    if (this.#client.state !== "connected") return;
    for (const { subscription } of this.#watched) if (subscription.state !== "subscribed") return;
    this.#say("live");
  }

  #sayWaiting() {
    if (this.#client.state !== "connecting") return;
    // A browser without any network says that it is offline, and still reaches a server on its own machine.
    if (!navigator.onLine) this.#say("offline");
    else this.#say(this.#wasLive ? "reconnecting" : "connecting");
  }

  /** The tab is seen again: what is open must prove it, and what waits goes now. */
  async #check() {
    if (this.#checking) return;
    if (this.#client.state === "connected") {
      this.#checking = true;
      const alive = await this.#answers();
      this.#checking = false;
      if (alive || this.#client.state !== "connected") return;
    } else if (this.#client.state === "disconnected" || !this.#failed) {
      return;
    }
    this.#failed = false;
    this.#quietly(() => this.#client.disconnect());
    this.#client.connect();
  }

  /** Whether the server answers at once. Any answer will do, and "not available" is one. */
  #answers() {
    const asked = this.#client.rpc("ping", null).then(
      () => true,
      ({ code }) => code !== TIMEOUT,
    );
    const late = new Promise((resolve) => setTimeout(() => resolve(false), CHECK_WITHIN_MS));
    return Promise.race([asked, late]);
  }
}
