// What a feed's value is after a message of the plain doors with ?delta=rows, from the value before it.

/** Takes a snapshot, an update or a reset. `before` is left as it is, and so are the rows that both lists share. */
export function valueAfter(before, message) {
  return message.rows ? applied(before, message.key, message.rows) : message.data;
}

/** Rows hang together as a ring, so that moving one costs the same in a list of any length. */
function applied(before, names, { removed = [], changed = [], added = [], order = [] }) {
  const keyOf = (row) => JSON.stringify(names.length === 1 ? row[names[0]] : names.map((name) => row[name]));
  const ring = {};
  ring.next = ring.previous = ring;
  const links = new Map();
  const put = (link, after) => {
    Object.assign(link, { previous: after, next: after.next });
    link.next.previous = after.next = link;
  };
  const take = (link) => {
    link.previous.next = link.next;
    link.next.previous = link.previous;
  };
  const append = (row) => {
    const link = { row };
    links.set(keyOf(row), link);
    put(link, ring.previous);
  };
  before.forEach(append);
  for (const key of removed) take(links.get(JSON.stringify(key)));
  for (const row of changed) links.get(keyOf(row)).row = row;
  added.forEach(append);
  for (const [key, after] of order) {
    const link = links.get(JSON.stringify(key));
    take(link);
    put(link, after === null ? ring : links.get(JSON.stringify(after)));
  }
  const value = [];
  for (let link = ring.next; link !== ring; link = link.next) value.push(link.row);
  return value;
}
