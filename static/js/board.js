// The board: its tiles come, go and change by themselves, over one connection; and the filter box.

import { startClock } from "./clock.js";
import { setText } from "./dom.js";
import { leave, positionOf, watch } from "./live.js";
import "./livequery.js";
import { newTile, Tile } from "./tile.js";

const board = document.getElementById("board");
const box = document.getElementById("filter");
const count = document.getElementById("count");
const tiles = new Map(); // slug to tile, and how it is watched

function add(tile, known) {
  const watched = watch(tile.slug, (message) => tile.receive(message), { known });
  tiles.set(tile.slug, { tile, watched });
}

function remove(slug) {
  const { tile, watched } = tiles.get(slug);
  leave(watched);
  tile.root.remove();
  tiles.delete(slug);
}

/** Have the tiles of these feeds, in this order. */
function arrange(feeds) {
  const wanted = new Set(feeds.map(({ slug }) => slug));
  for (const slug of [...tiles.keys()]) if (!wanted.has(slug)) remove(slug);
  let place = board.firstElementChild;
  for (const feed of feeds) {
    if (!tiles.has(feed.slug)) add(newTile(feed), null);
    const { tile } = tiles.get(feed.slug);
    tile.name(feed);
    if (tile.root === place) place = place.nextElementSibling;
    else board.insertBefore(tile.root, place);
  }
  document.getElementById("nothing").hidden = tiles.size > 0;
  box.form.hidden = !tiles.size && !board.dataset.search;
  filter();
}

/** How many feeds there are on all pages, as the states are counted. */
function total() {
  const states = [...document.querySelectorAll(".states [data-feeds]")];
  return states.reduce((sum, { dataset }) => sum + Number(dataset.feeds), 0);
}

const applied = box.value.trim().toLowerCase();
let asking = 0;

/** Hide the tiles that do not match; Enter asks the server, which searches all pages. */
function filter() {
  const wanted = box.value.trim().toLowerCase();
  clearTimeout(asking);
  if (!wanted.includes(applied)) {
    // Wider than what the server was asked for: tiles are missing here.
    asking = setTimeout(() => box.form.requestSubmit(), 500);
    return;
  }
  let shown = 0;
  for (const { tile } of tiles.values()) {
    tile.root.hidden = !tile.root.dataset.words.includes(wanted);
    if (!tile.root.hidden) shown += 1;
  }
  const all = total();
  const whole = `${all} feed${all === 1 ? "" : "s"}`;
  setText(count, wanted === applied ? whole : `${shown} of ${whole}`);
  document.getElementById("no-match").hidden = shown > 0 || !tiles.size;
}

startClock();
for (const root of board.querySelectorAll(".tile")) add(new Tile(root), positionOf(root));
watch(board.dataset.feeds, ({ published_at: published, data }) => published && arrange(data), { known: positionOf(board) });
box.addEventListener("input", filter);
document.addEventListener("live-paint", filter);
