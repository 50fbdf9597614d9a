// The chart card of a feed's page: range and field to choose, filled from the history, continued live.

import { lineChart } from "./chart.js";
import { number } from "./format.js";
import { element } from "./dom.js";
import { numberAt, numericPaths, readHistory } from "./history.js";

export class FeedChart {
  #slug;
  #card = document.getElementById("chart-card");
  #place = document.getElementById("chart");
  #note = document.getElementById("chart-note");
  #fields = document.getElementById("chart-field");
  #paths = [];
  #publications = [];
  #loading = null;
  #chart = null;

  constructor(slug, value) {
    this.#slug = slug;
    this.#fields.addEventListener("change", () => this.#draw());
    for (const range of this.#card.querySelectorAll("[name=range]")) {
      range.addEventListener("change", () => this.#load());
    }
    this.#learn(value);
  }

  /** A live publication: {reborn, offset, published_at, data}. */
  append(publication) {
    if (publication.reborn) this.#publications = [];
    this.#learn(publication.data);
    // What comes while the history is still being read is in it, or is kept behind it.
    if ((this.#publications.at(-1)?.offset ?? 0) < publication.offset) this.#publications.push(publication);
    this.#draw();
  }

  get #seconds() {
    return Number(this.#card.querySelector("[name=range]:checked").value);
  }

  /** Show the card once the feed has numbers, and offer those that its values hold. */
  #learn(value) {
    const paths = numericPaths(value);
    if (paths.length === 0 || JSON.stringify(paths) === JSON.stringify(this.#paths)) return;
    const chosen = this.#fields.value;
    const first = this.#card.hidden;
    this.#paths = paths;
    this.#fields.replaceChildren(...paths.map((path) => element("option", { value: path.join(".") }, path.join("."))));
    if (paths.some((path) => path.join(".") === chosen)) this.#fields.value = chosen;
    this.#fields.parentElement.hidden = paths.length === 1 && paths[0].length === 0;
    this.#card.hidden = false;
    if (first) this.#load();
  }

  async #load() {
    this.#loading?.abort();
    const loading = (this.#loading = new AbortController());
    this.#say("loading…");
    try {
      const past = await readHistory(this.#slug, this.#seconds, loading.signal);
      const newest = past.at(-1)?.offset ?? 0;
      this.#publications = [...past, ...this.#publications.filter(({ offset }) => offset > newest)];
      this.#draw();
    } catch (error) {
      if (error.name !== "AbortError") this.#say(`The history could not be read: ${error.message}.`);
    }
  }

  #say(words) {
    this.#note.hidden = !words;
    this.#note.textContent = words;
  }

  #points() {
    const path = this.#paths.find((each) => each.join(".") === this.#fields.value) ?? [];
    const from = this.#seconds ? Date.now() - this.#seconds * 1000 : -Infinity;
    const points = [[], []];
    for (const { published_at: at, data } of this.#publications) {
      const time = Date.parse(at);
      if (time < from) continue;
      points[0].push(time / 1000);
      points[1].push(numberAt(data, path));
    }
    return points;
  }

  #draw() {
    const points = this.#points();
    const values = points[1].filter((value) => value !== null);
    this.#say(values.length ? "" : "Nothing was published in this range.");
    this.#place.hidden = values.length === 0;
    if (values.length === 0) return;
    const low = values.reduce((a, b) => Math.min(a, b));
    const high = values.reduce((a, b) => Math.max(a, b));
    const words = `${values.length} values from ${number(low)} to ${number(high)}, the newest ${number(values.at(-1))}`;
    this.#place.setAttribute("aria-label", `Chart: ${words}`);
    if (this.#chart) this.#chart.setData(points);
    else this.#chart = lineChart(this.#place, points, "value");
  }
}
