// uPlot in this site's colours: the small line of a tile, and the large chart of a feed's page.

import uPlot from "../uplot/uPlot.esm.js";
import { number } from "./format.js";

const drawn = new Set();
let palette = null;

// Canvases do not follow the style sheet by themselves.
addEventListener("themechange", () => {
  palette = null;
  for (const chart of drawn) chart.redraw(false, true);
});

/** The theme's colours, as the browser resolves the custom properties. */
function siteColours() {
  if (palette) return palette;
  const probe = document.body.appendChild(document.createElement("span"));
  palette = {};
  for (const name of ["accent", "ink-3", "line"]) {
    probe.style.color = `var(--${name})`;
    palette[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return palette;
}

/** Of a colour that is written in another way, nothing. */
const faint = (rgb, alpha) => (/^rgb\(.*\)$/.test(rgb) ? rgb.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`) : "transparent");

function area(chart, line) {
  if (!(chart.bbox?.height > 0)) return faint(line, 0.1); // asked before the first layout
  const gradient = chart.ctx.createLinearGradient(0, chart.bbox.top, 0, chart.bbox.top + chart.bbox.height);
  gradient.addColorStop(0, faint(line, 0.24));
  gradient.addColorStop(1, faint(line, 0.02));
  return gradient;
}

// uPlot's own ticks with the 24-hour clock: smallest step in seconds, format, then what is added at each turn
// of a year, a day and a minute.
const TICKS = [
  [86400 * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86400, "{MMM} {D}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{MMM} {D}", null, "\n{MMM} {D}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{MMM} {D}", null, "\n{MMM} {D}", null, null, null, 1],
  [0.001, "{HH}:{mm}:{ss}.{fff}", "\n{MMM} {D}", null, "\n{MMM} {D}", null, null, null, 1],
];

/** Room above and below, also for a line that is flat. */
function range(chart, low, high) {
  if (low === null) return [0, 1];
  const pad = (high - low) * 0.12 || Math.abs(high) * 0.05 || 1;
  return [low - pad, high + pad];
}

function fit(chart, place, height) {
  const observer = new ResizeObserver(() => {
    if (place.clientWidth) chart.setSize({ width: place.clientWidth, height: height() });
  });
  observer.observe(place);
  drawn.add(chart);
  chart.hooks.destroy = [() => observer.disconnect(), () => drawn.delete(chart)];
}

// A value holds until the next publication: an unchanged one is not published, so a slope would be invented.
const steps = uPlot.paths.stepped({ align: 1 });

function lineSeries(colours, more = {}) {
  return {
    paths: steps,
    stroke: () => colours().accent,
    fill: (chart) => area(chart, colours().accent),
    width: 1.75,
    points: { show: false },
    ...more,
  };
}

/** A tile's recent past: no axes, no words. `data` is [seconds, values]. */
export function sparkline(place, data) {
  const options = {
    width: place.clientWidth,
    height: place.clientHeight,
    padding: [3, 0, 3, 0],
    cursor: { show: false },
    legend: { show: false },
    axes: [{ show: false }, { show: false }],
    scales: { y: { range } },
    series: [{}, lineSeries(siteColours)],
  };
  const chart = new uPlot(options, data, (made, init) => {
    place.replaceChildren(made.root);
    init();
  });
  fit(chart, place, () => place.clientHeight);
  return chart;
}

/**
 * The large chart, with axes and the value under the cursor.
 *
 * colours   returns what is drawn with now: {accent, ink-3, line}
 * read      called when the cursor moves; then there is no legend, and the chart is as high as its place
 */
export function lineChart(place, data, label, { colours = siteColours, read = null } = {}) {
  const axis = {
    stroke: () => colours()["ink-3"],
    grid: { stroke: () => colours().line, width: 1 },
    ticks: { show: false },
    font: `12px ${getComputedStyle(place).fontFamily}`,
  };
  const height = () => (read ? place.clientHeight : place.clientWidth < 480 ? 220 : 300);
  const shown = (chart, value) => (value === null || value === undefined ? "–" : number(value));
  const options = {
    width: place.clientWidth,
    height: height(),
    padding: [12, 8, 0, 0],
    cursor: { drag: { x: false, y: false } },
    ...(read && { legend: { show: false }, hooks: { setCursor: [read] } }),
    axes: [
      { ...axis, space: 70, values: TICKS },
      { ...axis, size: 64, values: (chart, ticks) => ticks.map((tick) => number(tick)) },
    ],
    scales: { y: { range } },
    series: [{ label: "time", value: "{YYYY}-{MM}-{DD} {HH}:{mm}:{ss}" }, lineSeries(colours, { label, value: shown })],
  };
  const chart = new uPlot(options, data, place);
  fit(chart, place, height);
  return chart;
}
