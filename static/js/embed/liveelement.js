// What both elements share: their attributes, their state in words, and how they look by default.

import { element, setText } from "../dom.js";
import { moment } from "../format.js";
import { join, leave } from "./shared.js";

const WORDS = {
  connecting: "connecting…",
  live: "live",
  stale: "stale",
  failing: "failing",
  paused: "paused",
  reconnecting: "reconnecting…",
  offline: "offline",
  gone: "no such feed",
  refused: "not allowed",
  stopped: "stopped",
  unnamed: "no feed named",
};

/** A style sheet made by script, which no Content-Security-Policy of the page forbids. */
export function styles(text) {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(text);
  return sheet;
}

const look = styles(`
  :host { display: inline-flex; flex-wrap: wrap; align-items: baseline; gap: 0.1em 0.4em; }
  :host([hidden]) { display: none; }
  [part="value"] { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
  [part="label"]:empty, [part="unit"]:empty { display: none; }
  [part="state"] { display: inline-flex; align-items: baseline; gap: 0.35em; font-size: 0.8em; color: var(--headwater-trouble, inherit); }
  [part="dot"] { flex: none; width: 0.6em; height: 0.6em; box-sizing: border-box; border: 0.15em solid currentColor; border-radius: 50%; }
  :host([state="live"]) [part="state"] { color: var(--headwater-live, inherit); }
  :host([state="live"]) [part="dot"] { background: currentColor; }
  :host([state="live"]) .words { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`);

/** The value at a path such as `rates.eur` or `items.0`, undefined where there is none. */
export function valueAt(value, path) {
  return path ? path.split(".").reduce((inner, key) => inner?.[key], value) : value;
}

export class LiveElement extends HTMLElement {
  static observedAttributes = ["feed", "token", "path", "label", "unit", "decimals"];

  feed = null;
  #shown = false;
  #label = element("span", { part: "label" });
  #words = element("span", { class: "words" });
  #state = element("span", { part: "state" }, element("span", { part: "dot", "aria-hidden": "true" }), this.#words);

  constructor(...sheets) {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [look, ...sheets];
  }

  /** The label, what the element is for, and its state. */
  build(...content) {
    this.shadowRoot.append(this.#label, ...content, this.#state);
  }

  connectedCallback() {
    this.#shown = true;
    this.#join();
  }

  disconnectedCallback() {
    // Whoever is only moved within the page goes on.
    queueMicrotask(() => {
      if (this.isConnected) return;
      this.#shown = false;
      this.#leave();
    });
  }

  attributeChangedCallback(name, before, after) {
    // All attributes of an element are told before it is shown.
    if (!this.#shown || before === after) return;
    if (name === "feed" || name === "token") {
      this.#leave();
      this.#join();
    } else {
      this.#showLabel();
      this.render();
    }
  }

  #join() {
    this.#showLabel();
    const slug = this.getAttribute("feed");
    if (slug && !this.feed) {
      this.feed = join(this, slug, this.getAttribute("token") ?? "");
      if (this.feed.value) this.receive(this.feed.value);
    }
    this.showState();
  }

  #leave() {
    if (!this.feed) return;
    leave(this, this.feed);
    this.feed = null;
    this.reset();
  }

  #showLabel() {
    setText(this.#label, this.getAttribute("label") ?? "");
  }

  /** Connecting, live, …: as the attribute `state`, in words, and why in a tooltip. */
  showState() {
    const { name, words = "", lastOk = null } = this.feed?.state ?? { name: "unnamed" };
    if (this.getAttribute("state") !== name) {
      this.setAttribute("state", name);
      this.dispatchEvent(new CustomEvent("state", { detail: { state: name, words } }));
    }
    setText(this.#words, WORDS[name]);
    const since = lastOk ? `last good ${moment(Date.parse(lastOk))}` : "";
    this.#state.title = [words, since].filter(Boolean).join(" · ");
  }
}
