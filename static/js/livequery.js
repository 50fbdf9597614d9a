// The page's blocks of live queries: the server paints each result, and what differs is changed in place.
// Needs no other script: `<script type="module" src="{% static 'js/livequery.js' %}">`.

import { startClock, tellTimes } from "./clock.js";
import { setText } from "./dom.js";
import { positionOf, watch } from "./live.js";
import { morph } from "./morph.js";

const ENDED = "This is not shown to you any more. Reload the page to try again.";

class Block {
  root;
  #inside;
  #problem;

  constructor(root) {
    this.root = root;
    this.#inside = root.querySelector(":scope > .live-block");
    this.#problem = root.querySelector(":scope > .live-problem");
  }

  receive({ type, state, error, code, data, epoch, offset, published_at: published }) {
    if (type === "status") {
      this.#tell(state, state === "failing" || state === "stale" ? error : "");
    } else if (type === "error") {
      if (code === "gone") this.#inside.replaceChildren();
      this.#tell("refused", ENDED);
    } else if (published) {
      [this.root.dataset.epoch, this.root.dataset.offset] = [epoch, offset];
      this.#paint(data);
    }
  }

  /** Fires `live-paint` afterwards, for scripts that want to know. */
  #paint(html) {
    morph(this.#inside, html);
    tellTimes(this.#inside);
    this.root.dispatchEvent(new CustomEvent("live-paint", { bubbles: true }));
  }

  #tell(state, words) {
    this.root.dataset.state = state;
    this.#problem.hidden = !words;
    setText(this.#problem, words);
  }
}

startClock();
const shown = new Map();
for (const root of document.querySelectorAll("[data-live]")) {
  const { live: slug } = root.dataset;
  shown.set(slug, [...(shown.get(slug) ?? []), new Block(root)]);
}
for (const [slug, blocks] of shown) {
  watch(slug, (message) => blocks.forEach((block) => block.receive(message)), { known: positionOf(blocks[0].root) });
}
