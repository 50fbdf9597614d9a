// One feed on the board: its value, its health and its sparkline.

import { sparkline } from "./chart.js";
import { setText } from "./dom.js";
import { healthOf, showHealth } from "./health.js";
import { isNumber, showValue } from "./value.js";

const POINTS = 60;

/** A tile for a feed of which nothing is known yet; the page has what it is made of. */
export function newTile({ slug }) {
  const root = document.getElementById("new-tile").content.firstElementChild.cloneNode(true);
  root.dataset.feed = slug;
  root.querySelector("h2 a").href = `/feeds/${slug}/`;
  return new Tile(root);
}

export class Tile {
  #value;
  #spark;
  #points = [[], []];
  #chart = null;
  #status;

  constructor(root) {
    this.root = root;
    this.slug = root.dataset.feed;
    this.#value = root.querySelector(".value");
    this.#spark = root.querySelector(".spark");
    this.#status = healthOf(root);
    if (root.dataset.points) {
      const [first, times, values] = JSON.parse(root.dataset.points);
      this.#points = [times.map((time) => first + time), values];
      this.#draw();
    }
  }

  /** Its title, and who reads it. */
  name({ slug, title, public: isPublic }) {
    setText(this.root.querySelector("h2 a"), title);
    this.root.dataset.words = `${title} ${slug}`.toLowerCase();
    const mark = this.root.querySelector(".tile-head .tag");
    if (mark) mark.hidden = isPublic;
  }

  /** A message of this feed. */
  receive(message) {
    if (message.type === "status") {
      this.#setStatus(message);
    } else if (message.code === "gone") {
      this.root.hidden = true; // the board takes it away
    } else if (message.published_at) {
      this.#setValue(message);
    }
  }

  #setValue({ type, reborn, data, published_at: at }) {
    showValue(this.#value, data);
    this.#flash();
    if (reborn) this.#points = [[], []];
    if (isNumber(data)) this.#append(Date.parse(at) / 1000, data);
    // A new value means that the poll was good; a status follows only where that is news.
    if (type !== "snapshot" && this.#status.state === "fresh") this.#setStatus({ ...this.#status, last_ok_at: at });
  }

  #setStatus(status) {
    this.#status = status;
    this.root.dataset.state = status.state;
    showHealth(this.root, status);
  }

  #append(at, value) {
    const [times, values] = this.#points;
    times.push(at);
    values.push(value);
    if (times.length > POINTS) {
      times.shift();
      values.shift();
    }
    this.#draw();
  }

  #draw() {
    if (this.#points[0].length < 2) return;
    this.#spark.hidden = false;
    if (this.#chart) this.#chart.setData(this.#points);
    else this.#chart = sparkline(this.#spark, this.#points);
  }

  #flash() {
    this.root.classList.remove("flash");
    void this.root.offsetWidth; // lets the animation begin again
    this.root.classList.add("flash");
  }
}
