// The source form: try the URL, see the answer as a tree, click a field to make a feed of it.

import { startClock } from "./clock.js";
import { FeedRows } from "./feedrows.js";
import { number, size } from "./format.js";
import { element } from "./dom.js";
import { expressionOf, showTree } from "./tree.js";

const FOUND = 300;

const form = document.getElementById("source");
const button = document.getElementById("try");
const rows = new FeedRows();
const field = (name) => form.elements.namedItem(name);
const place = (id) => document.getElementById(id);

/** `Name: value` lines as an object; lines that are none are left for the server to complain about. */
function headerLines(text) {
  const lines = text.split("\n").filter((line) => line.trim());
  return Object.fromEntries(lines.map((line) => line.split(/:(.*)/s, 2).map((piece) => piece.trim())).map(([name, value]) => [name, value ?? ""]));
}

function draft() {
  const kept = [...form.querySelectorAll("[name=keep_secret]:checked")].map((box) => [box.value, null]);
  return {
    slug: form.dataset.slug, // whose stored secrets are meant
    url: field("url").value.trim(),
    method: field("method").value,
    body: field("body").value,
    format: field("format").value,
    timeout_s: Number(field("timeout_s").value),
    headers: headerLines(field("headers").value),
    secret_headers: { ...Object.fromEntries(kept), ...headerLines(field("secret_headers").value) },
    feeds: rows.drafts,
  };
}

function complain(name, message) {
  const wrong = place(`wrong_${name}`);
  if (!wrong) return false;
  wrong.hidden = !message;
  wrong.textContent = message;
  if (message) {
    field(name)?.setAttribute?.("aria-invalid", "true");
    wrong.closest("details")?.setAttribute("open", "");
  } else {
    field(name)?.removeAttribute?.("aria-invalid");
  }
  return true;
}

function clearProblems() {
  for (const name of ["url", "method", "body", "format", "timeout_s", "headers", "secret_headers"]) complain(name, "");
  for (const row of rows.rows) rows.problem(row, "expression", "");
  place("answer-wrong").hidden = true;
}

/** `problems` by field, as the API names them; what belongs to no field here is said above the tree. */
function showProblems(problems) {
  const homeless = [];
  for (const [name, message] of Object.entries(problems)) {
    const [, index, inner] = /^feeds\.(\d+)\.(\w+)$/.exec(name) ?? [];
    if (index !== undefined && rows.rows[index]) rows.problem(rows.rows[index], inner, message);
    else if (!complain(name, message)) homeless.push(message);
  }
  place("answer-wrong").textContent = homeless.join(" ");
  place("answer-wrong").hidden = homeless.length === 0;
}

const short = (value) => {
  const text = JSON.stringify(value);
  return text.length > FOUND ? `${text.slice(0, FOUND)}…` : text;
};

/** A name made of a path: `data.amount` of coinbase becomes coinbase-amount. */
function slugOf(path) {
  const last = path.filter((step) => typeof step === "string").at(-1) ?? "";
  const words = [field("slug").value, last].join("-").toLowerCase();
  return words.replace(/[^a-z0-9_-]+/g, "-").replace(/^[-_]+|[-_]+$/g, "").slice(0, 100);
}

function suggestName() {
  if (field("slug").value) return;
  try {
    const parts = new URL(field("url").value).hostname.split(".");
    const name = parts.length > 1 && !/^\d+$/.test(parts.at(-1)) ? parts.at(-2) : parts[0];
    field("slug").value = name.toLowerCase().replace(/[^a-z0-9-]/g, "");
  } catch {
    // no URL yet: nothing to suggest
  }
}

function showAnswer(trial) {
  place("answer").hidden = false;
  const facts = [`${number(trial.duration_ms)} ms`];
  if (trial.status !== null) facts.unshift(`HTTP ${trial.status}`);
  if (trial.size_bytes) facts.push(size(trial.size_bytes));
  if (trial.content_type) facts.push(trial.content_type);
  place("answer-facts").textContent = facts.join(" · ");
  showProblems(trial.problems);
  const readable = trial.document !== null;
  place("answer-hint").hidden = !readable;
  if (readable) {
    showTree(place("tree"), trial.document, (path, value) => rows.take(expressionOf(path), slugOf(path), short(value)));
  } else {
    place("tree").replaceChildren(element("pre", {}, trial.excerpt || "No answer came."));
  }
  rows.rows.forEach((row, index) => {
    const found = readable && !(`feeds.${index}.expression` in trial.problems) && rows.drafts[index].slug;
    rows.find(row, found ? short(trial.values[index]) : "");
  });
}

async function tryIt() {
  button.disabled = true;
  clearProblems();
  suggestName();
  place("answer-facts").textContent = "asking…";
  try {
    const answer = await fetch("/api/sources/try", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": field("csrfmiddlewaretoken").value },
      body: JSON.stringify(draft()),
    });
    const content = await answer.json();
    if (answer.ok) {
      showAnswer(content);
    } else {
      place("answer-facts").textContent = "";
      const { error } = content;
      if (!complain(error.field, error.message)) {
        place("answer").hidden = false;
        showProblems({ "": error.message });
      }
    }
  } catch (error) {
    place("answer").hidden = false;
    place("answer-facts").textContent = "";
    showProblems({ "": `Headwater did not answer: ${error.message}.` });
  } finally {
    button.disabled = false;
  }
}

button.hidden = false;
button.addEventListener("click", tryIt);
field("url").addEventListener("keydown", (event) => {
  // Enter in the URL means "show me", not "save".
  if (event.key === "Enter") {
    event.preventDefault();
    tryIt();
  }
});
startClock();
