// Changing what is on the page into what the server painted: only what differs is touched.

import { Idiomorph } from "../idiomorph/idiomorph.esm.js";

// What a field holds, and what it was painted with.
const FIELDS = Object.entries({ value: "defaultValue", checked: "defaultChecked", selected: "defaultSelected" });

/**
 * The attributes of an element that are the reader's own: a field's where the reader has changed it and the server
 * does not say the same meanwhile, and whether details are open.
 */
function readersOwn(element, painted) {
  const own = FIELDS.filter(([now, first]) => first in element && element[now] !== element[first] && element[now] !== painted[now]);
  const names = own.map(([now]) => now);
  return element instanceof HTMLDetailsElement ? [...names, "open"] : names;
}

/** Have this HTML inside of `target`, but for what the reader typed, chose or opened. Elements are known by their
 * ids, others by their place. */
export function morph(target, html) {
  const own = new Map();
  Idiomorph.morph(target, html, {
    morphStyle: "innerHTML",
    callbacks: {
      beforeNodeMorphed: (element, painted) => {
        own.set(element, readersOwn(element, painted));
      },
      beforeAttributeUpdated: (name, element) => !own.get(element)?.includes(name),
    },
  });
}
