// The feeds of a source form: rows that come and go, and what each expression found.

const TITLES = { slug: "", title: "", expression: "" };

export class FeedRows {
  #list = document.getElementById("feed-rows");
  #blank;
  #next;
  #focused = null;

  constructor() {
    const rows = this.rows;
    this.#blank = rows.at(-1).cloneNode(true);
    this.#next = rows.length;
    for (const row of rows) this.#wire(row);
    // The last one is empty, for browsers without scripts; here there is a button for more.
    if (rows.length > 1) rows.at(-1).remove();
    const add = document.getElementById("add-feed");
    add.hidden = false;
    add.addEventListener("click", () => part(this.add(), "slug").focus());
    this.#count();
  }

  get rows() {
    return [...this.#list.children];
  }

  /** The feeds as the API takes them. */
  get drafts() {
    return this.rows.map((row) => ({
      slug: part(row, "slug").value.trim(),
      title: part(row, "title").value.trim(),
      expression: part(row, "expression").value.trim(),
      public: part(row, "public").checked,
    }));
  }

  add() {
    const row = this.#blank.cloneNode(true);
    const number = this.#next++;
    row.dataset.row = number;
    for (const each of row.querySelectorAll("[id], [for], [name], [aria-describedby]")) {
      for (const name of ["id", "for", "name", "aria-describedby"]) {
        const text = each.getAttribute(name);
        if (text) each.setAttribute(name, text.replace(/^(feeds?)-\d+-/, `$1-${number}-`));
      }
    }
    this.#list.append(row);
    this.#wire(row);
    this.#count();
    return row;
  }

  /** Put an expression where it is wanted: the field last looked at, an empty row, or a new one. */
  take(expression, slug, text) {
    let row = this.#focused?.isConnected ? this.#focused : null;
    row ??= this.rows.find((each) => Object.keys(TITLES).every((name) => name === "slug" || !part(each, name).value));
    row ??= this.add();
    this.#focused = null;
    part(row, "expression").value = expression;
    if (!part(row, "slug").value) part(row, "slug").value = this.#unused(slug);
    this.find(row, text);
    this.problem(row, "expression", "");
    row.scrollIntoView({ block: "nearest" });
  }

  /** Show what a row's expression found; "" hides it. */
  find(row, text) {
    const found = row.querySelector("[data-found]");
    found.hidden = !text;
    found.classList.remove("old");
    found.textContent = text;
  }

  problem(row, name, message) {
    const wrong = row.querySelector(`[data-wrong=${name}]`);
    wrong.hidden = !message;
    wrong.textContent = message;
    if (message) part(row, name).setAttribute("aria-invalid", "true");
    else part(row, name).removeAttribute("aria-invalid");
  }

  #unused(slug) {
    const taken = new Set(this.drafts.map((draft) => draft.slug));
    if (!taken.has(slug)) return slug;
    let number = 2;
    while (taken.has(`${slug}-${number}`)) number += 1;
    return `${slug}-${number}`;
  }

  #wire(row) {
    const expression = part(row, "expression");
    expression.addEventListener("focus", () => (this.#focused = row));
    expression.addEventListener("input", () => row.querySelector("[data-found]").classList.add("old"));
    row.querySelector("[data-remove]").addEventListener("click", () => {
      row.remove();
      this.#count();
      document.getElementById("add-feed").focus();
    });
  }

  #count() {
    for (const row of this.rows) row.querySelector("[data-remove]").hidden = this.rows.length === 1;
  }
}

function part(row, name) {
  return row.querySelector(`[data-part=${name}]`);
}
