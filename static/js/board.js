// The board: every tile live over one connection, and the filter box.

import { startClock } from "./clock.js";
import { goLive } from "./live.js";
import { Tile } from "./tile.js";

const tiles = new Map([...document.querySelectorAll(".tile")].map((root) => [root.dataset.feed, new Tile(root)]));

startClock();
if (tiles.size) {
  const positions = new Map([...tiles.values()].map((tile) => [tile.slug, tile.position]));
  goLive(positions, (message) => tiles.get(message.feed)?.receive(message));
}

const box = document.getElementById("filter");
const count = document.getElementById("count");
const whole = count?.textContent;
const applied = box?.value.trim().toLowerCase();
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
  for (const { root } of tiles.values()) {
    root.hidden = !root.dataset.words.includes(wanted);
    if (!root.hidden) shown += 1;
  }
  count.textContent = wanted === applied ? whole : `${shown} of ${whole}`;
  document.getElementById("no-match").hidden = shown > 0;
}

if (box && tiles.size) {
  box.addEventListener("input", filter);
}
