// A feed's page: value, chart, history and health, live.

import { startClock } from "./clock.js";
import { startCopying } from "./copy.js";
import { element } from "./dom.js";
import { FeedChart } from "./feedchart.js";
import { moment } from "./format.js";
import { healthOf, showHealth } from "./health.js";
import { positionOf, showConnection, watch } from "./live.js";
import { showValue } from "./value.js";

const ROWS = 20;
const CELL = 160;

const root = document.getElementById("feed");
const valuePlace = document.getElementById("value");
const health = document.getElementById("health");
const rows = document.getElementById("history");
const slug = root.dataset.feed;

let status = healthOf(health);
let chart = null;

function setStatus(next) {
  status = next;
  showHealth(health, status);
}

function setValue(value) {
  if (typeof value !== "object" || value === null) {
    showValue(valuePlace, value);
    return;
  }
  const text = JSON.stringify(value, null, 2);
  const code = valuePlace.querySelector("pre.json > code");
  if (code) code.textContent = text;
  else valuePlace.replaceChildren(element("pre", { class: "json", tabindex: "0", "aria-label": "Value" }, element("code", {}, text)));
}

/** A new row on top, unless the reader has leafed back. */
function addRow({ offset, published_at: at, data }) {
  if ("still" in rows.dataset) return;
  if (rows.querySelector(`[data-offset="${offset}"]`) || Number(rows.rows[0]?.cells[0].textContent) >= offset) return;
  const text = JSON.stringify(data);
  const time = element("time", { datetime: at }, moment(Date.parse(at)));
  const cells = [
    element("td", { class: "nums" }, String(offset)),
    element("td", { class: "nums" }, time),
    element("td", {}, element("code", {}, text.length > CELL ? `${text.slice(0, CELL)}…` : text)),
  ];
  rows.querySelector(".nothing")?.remove();
  rows.prepend(element("tr", { class: "flash" }, ...cells));
  while (rows.rows.length > ROWS) rows.rows[ROWS].remove();
  const older = document.getElementById("older");
  if (older) older.href = `?before=${rows.rows[rows.rows.length - 1].cells[0].textContent}#history-title`;
}

function receive(message) {
  if (message.type === "status") return setStatus(message);
  if (message.code === "gone") {
    showConnection("stopped", message.message);
    return undefined;
  }
  document.getElementById("position").textContent = `${message.epoch}:${message.offset}`;
  if (!message.published_at) return undefined;
  setValue(message.data);
  if (message.reborn) rows.replaceChildren();
  addRow(message);
  if (message.type !== "snapshot" && status.state === "fresh") setStatus({ ...status, last_ok_at: message.published_at });
  if (chart) chart.append(message);
  else chart = new FeedChart(slug, message.data);
  return undefined;
}

/** The value as the server rendered it is for reading; the chart wants the data itself. */
async function startChart() {
  try {
    const answer = await fetch(`/api/feeds/${encodeURIComponent(slug)}`);
    if (!answer.ok) return;
    const { data } = await answer.json();
    chart ??= new FeedChart(slug, data);
  } catch {
    // The server has gone meanwhile: the first value after its return starts the chart.
  }
}

startClock();
startCopying();
startChart();
watch(slug, receive, { known: positionOf(root) });
