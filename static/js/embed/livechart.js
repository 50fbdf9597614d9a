// <live-chart>: a feed's numbers over time, with the newest one above. uPlot is loaded with the first value.

import { element, setText } from "../dom.js";
import { moment, number } from "../format.js";
import { numberAt, numericPaths } from "../history.js";
import { LiveElement, styles } from "./liveelement.js";
import { wordsOf } from "./livevalue.js";
import { readPast } from "./shared.js";

const MOST_POINTS = 1000;

const look = styles(`
  :host { display: flex; }
  [part="chart"] { order: 1; flex: 1 0 100%; min-width: 0; height: var(--headwater-chart-height, 12em); color: var(--headwater-line, inherit); }
  [part="state"] { margin-inline-start: auto; }
  .uplot, .u-wrap { position: relative; }
  .u-wrap { user-select: none; }
  .u-over, .u-under, .u-axis, .u-cursor-x, .u-cursor-y, .u-cursor-pt { position: absolute; }
  .u-over, .u-under { overflow: hidden; }
  .u-cursor-x { inset-block: 0; border-inline-end: 1px dashed currentColor; pointer-events: none; opacity: 0.6; }
  .u-cursor-y, .u-cursor-pt, .u-select, .u-off { display: none; }
  .uplot canvas { display: block; width: 100%; height: 100%; }
`);

export class LiveChart extends LiveElement {
  #value = element("span", { part: "value" }, element("slot"));
  #unit = element("span", { part: "unit" });
  #place = element("div", { part: "chart", role: "img" });
  #past = [];
  #chart = null;
  #filling = null;
  #draw = null;

  constructor() {
    super(look);
    this.build(this.#value, this.#unit, this.#place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#chart?.redraw(false, true));
  }

  receive(message) {
    if (message.reborn) this.#past = [];
    if ((this.#past.at(-1)?.offset ?? 0) < message.offset) this.#past.push(message);
    if (this.#past.length > MOST_POINTS) this.#past.shift();
    this.#filling ??= this.#fill();
    this.render();
  }

  reset() {
    this.#past = [];
    this.#filling = null;
    this.#chart?.destroy();
    this.#chart = null;
    this.#value.replaceChildren(element("slot"));
  }

  /** The past, once; without it, the chart begins now. */
  async #fill() {
    const { feed } = this;
    const [{ lineChart }, past] = await Promise.all([import("../chart.js"), readPast(feed).catch(() => [])]);
    if (this.feed !== feed) return;
    const newest = past.at(-1)?.offset ?? 0;
    const { epoch } = feed.value;
    this.#past = [...past, ...this.#past.filter((each) => each.offset > newest && each.epoch === epoch)];
    this.#draw = lineChart;
    this.render();
  }

  get #path() {
    const path = this.getAttribute("path");
    return path ? path.split(".") : (numericPaths(this.#past.at(-1)?.data)[0] ?? []);
  }

  render() {
    setText(this.#unit, this.getAttribute("unit") ?? "");
    if (!this.#past.length) return;
    const path = this.#path;
    const points = [[], []];
    for (const { published_at: at, data } of this.#past) {
      points[0].push(Date.parse(at) / 1000);
      points[1].push(numberAt(data, path));
    }
    this.#say(points);
    if (this.#chart) this.#chart.setData(points);
    else if (this.#draw) this.#chart = this.#draw(this.#place, points, "value", { colours: () => this.#colours(), read: (chart) => this.#read(chart) });
  }

  /** In words: the newest value for all, the whole for those who do not see the chart. */
  #say(points) {
    const values = points[1].filter((value) => value !== null);
    this.#showValue(values.at(-1));
    const low = values.reduce((a, b) => Math.min(a, b), Infinity);
    const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const words = values.length ? `${values.length} values from ${number(low)} to ${number(high)}, the newest ${number(values.at(-1))}` : "no numbers";
    this.#place.setAttribute("aria-label", `${this.getAttribute("label") ?? "Chart"}: ${words}`);
  }

  #showValue(value, at = null) {
    const decimals = this.hasAttribute("decimals") ? Number(this.getAttribute("decimals")) : NaN;
    setText(this.#value, wordsOf(value, decimals));
    this.#value.title = at ? moment(at * 1000) : "";
  }

  /** The value under the cursor, or the newest one. */
  #read(chart) {
    const values = chart.data[1];
    const index = chart.cursor.idx ?? values.length - 1;
    this.#showValue(values[index], chart.data[0][index]);
  }

  /** As the page's style sheet wants them now. */
  #colours() {
    const text = getComputedStyle(this).color;
    return { accent: getComputedStyle(this.#place).color, "ink-3": text, line: text.replace(/^rgb\((.*)\)$/, (_, parts) => `rgba(${parts}, 0.15)`) };
  }
}
