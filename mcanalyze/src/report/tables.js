"use strict";
// Values as text, elements, and tables of them. Nothing here takes text for HTML:
// keys, hosts and command lines are what anyone may have sent.

/** What is not known; never 0. */
const UNKNOWN = "–";

/** Control, invisible and direction characters: the same as in mcanalyze's text. */
const HARMFUL = new RegExp(
  "[\\p{Cc}\\u{ad}\\u{34f}\\u{61c}\\u{115f}\\u{1160}\\u{17b4}\\u{17b5}\\u{180b}-\\u{180f}" +
    "\\u{200b}-\\u{200f}\\u{2028}-\\u{202e}\\u{2060}-\\u{206f}\\u{2800}\\u{3164}" +
    "\\u{fe00}-\\u{fe0f}\\u{feff}\\u{ffa0}\\u{fff0}-\\u{fffb}\\u{1bca0}-\\u{1bca3}" +
    "\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}]",
  "gu",
);

/** Text with what is invisible in it made visible: `\u{202e}`. */
function visible(text) {
  return String(text).replace(HARMFUL, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

/** `1,234,567`. */
function grouped(number) {
  return Math.round(number).toLocaleString("en-GB");
}

function rate(number) {
  return Math.abs(number) < 100 ? number.toFixed(1) : grouped(number);
}

function percent(ratio) {
  return `${(ratio * 100).toFixed(1)}\u00a0%`;
}

function scaled(number, step, small, units) {
  if (Math.abs(number) < step) return `${grouped(number)}\u00a0${small}`;
  let unit = -1;
  while (Math.abs(number) >= step && unit < units.length - 1) {
    number /= step;
    unit += 1;
  }
  return `${number.toFixed(1)}\u00a0${units[unit]}`;
}

function bytes(number) {
  return scaled(number, 1024, "B", ["KiB", "MiB", "GiB", "TiB", "PiB"]);
}

function nanoseconds(number) {
  return scaled(number, 1000, "ns", ["µs", "ms", "s"]);
}

function duration(seconds) {
  if (seconds > 0 && seconds < 0.1) return nanoseconds(seconds * 1e9);
  if (seconds < 60) return `${seconds.toFixed(1)}\u00a0s`;
  const two = (number) => String(Math.floor(number) % 60).padStart(2, "0");
  return `${Math.floor(seconds / 3600)}:${two(seconds / 60)}:${two(seconds)}`;
}

/** `2026-11-21 05:39:23`, of an RFC 3339 time in UTC. */
function second(time) {
  return visible(time).slice(0, 19).replace("T", " ");
}

/** `05:39:23.123`; the head of the report says of which day. */
function timeOfDay(time) {
  return visible(time).slice(11, 23);
}

/** An RFC 3339 time as ms since the epoch, to the microsecond. */
function milliseconds(time) {
  const [, whole, fraction] = /^(.{19})(\.\d+)?/.exec(time) ?? [];
  return Date.parse(`${whole}Z`) + Number(fraction ?? 0) * 1000;
}

/** ms or µs since the epoch, as the texts above have times. */
function rfc3339(ms) {
  return new Date(ms).toISOString();
}

/** An element. Children are elements, or strings, which are only ever text. */
function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(attribute, value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return element;
}

/** Text that someone else chose, in which the direction cannot leave its place. */
function foreign(text, style = null) {
  if (text === "") return el("span", { class: "unknown" }, "(empty)");
  return el("bdi", { class: style }, visible(text));
}

/** How a value of each kind is shown. Words are aligned left, numbers right. */
const KINDS = {
  word: { words: true, show: visible },
  key: { words: true, style: "key", element: (text) => foreign(text, "key"), show: visible },
  time: { words: true, show: timeOfDay },
  count: { show: grouped },
  bytes: { show: bytes },
  ns: { show: nanoseconds },
  ratio: { show: percent },
  share: { style: "share", show: percent },
  rate: { show: rate },
};

function cell(column, row, header) {
  const kind = KINDS[column.kind];
  const value = row[column.name] ?? null;
  const classes = [kind.words && "text", kind.style].filter(Boolean).join(" ") || null;
  const element = el(header ? "th" : "td", { class: classes, scope: header && "row" });
  if (value === null) {
    element.append(el("span", { class: "unknown", title: "not known" }, column.none ?? UNKNOWN));
    return element;
  }
  element.append(kind.element ? kind.element(value) : kind.show(value));
  // A share has a bar behind it.
  const share = Math.min(Math.max(value, 0), 1) * 100;
  if (kind.style === "share") element.style.setProperty("--share", `${share}%`);
  return element;
}

/** What is not known comes last, whichever way. */
function compare(a, b, descending) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = a < b ? -1 : Number(a > b);
  return descending ? -order : order;
}

/** `items`, of which some have a `depth`, as a forest. The order is that of a walk. */
function forest(rows) {
  const roots = [];
  const path = [];
  for (const row of rows) {
    const depth = Math.min(row.depth ?? 0, path.length);
    const node = { row, depth, parent: path[depth - 1] ?? null, children: [], open: false };
    path.length = depth;
    path.push(node);
    (node.parent ? node.parent.children : roots).push(node);
  }
  return roots;
}

function* walk(nodes) {
  for (const node of nodes) {
    yield node;
    yield* walk(node.children);
  }
}

/**
 * A table, or a tree where rows have a `depth`. `columns` are `{name, title, kind}`, the
 * first of which names the row; `sorted` is the column by which the rows came, falling;
 * `searched` is what to call what is searched for.
 */
class Grid {
  constructor({ label, columns, rows, sortable = true, sorted = null, searched = null }) {
    this.columns = columns;
    this.roots = forest(rows);
    this.nodes = [...walk(this.roots)];
    this.isTree = this.nodes.some((node) => node.depth > 0);
    this.sorted = { name: sorted, descending: true };
    this.query = "";
    this.headers = columns.map((column) => this.header(column, sortable));
    this.body = el("tbody", {}, this.nodes.map((node) => this.line(node)));
    const head = el("thead", {}, el("tr", {}, this.headers));
    const table = el("table", {}, el("caption", { class: "hidden" }, label), head, this.body);
    const scroll = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${label}, scrolls` }, table);
    this.element = el("div", {}, searched ? this.controls(searched) : null, scroll);
    this.mark();
    this.show();
  }

  header(column, sortable) {
    const classes = [KINDS[column.kind].words && "text", column.kind === "key" && "key"];
    const element = el("th", { scope: "col", class: classes.filter(Boolean).join(" ") || null });
    if (!sortable) {
      element.append(column.title);
      return element;
    }
    const button = el("button", { type: "button" }, column.title);
    button.addEventListener("click", () => this.sort(column));
    element.append(button);
    return element;
  }

  line(node) {
    const [first, ...rest] = this.columns;
    const name = cell(first, node.row, true);
    node.text = KINDS[first.kind].show(node.row[first.name] ?? "");
    if (this.isTree) name.replaceChildren(this.branch(node, [...name.childNodes]));
    node.element = el("tr", {}, name, rest.map((column) => cell(column, node.row, false)));
    return node.element;
  }

  /** The first cell of a row in a tree: its level, its switch and its name. */
  branch(node, name) {
    const element = el("div", { class: "branch" });
    element.style.setProperty("--depth", node.depth);
    if (node.children.length === 0) {
      element.append(el("span", { class: "leaf" }));
    } else {
      const label = `${node.text}: its ${grouped(node.children.length)} prefixes`;
      node.button = el("button", { type: "button", "aria-expanded": "false", "aria-label": label });
      node.button.addEventListener("click", () => this.open(node, !node.open));
      node.button.addEventListener("keydown", (event) => this.key(event, node));
      element.append(node.button);
    }
    element.append(el("span", { class: "hidden" }, `level ${node.depth + 1} `), el("span", {}, name));
    return element;
  }

  controls(searched) {
    const input = el("input", { type: "search", autocomplete: "off", spellcheck: "false" });
    input.addEventListener("input", () => {
      this.query = input.value.toLowerCase();
      this.show();
    });
    this.status = el("span", { role: "status", class: "note" });
    const all = (open, text) => {
      const button = el("button", { type: "button" }, text);
      button.addEventListener("click", () => this.openAll(open));
      return button;
    };
    const branches = this.isTree ? [all(true, "Expand all"), all(false, "Collapse all")] : [];
    return el("div", { class: "controls" }, el("label", {}, `Search ${searched}`, input), branches, this.status);
  }

  sort(column) {
    const again = this.sorted.name === column.name;
    const descending = again ? !this.sorted.descending : !KINDS[column.kind].words;
    this.sorted = { name: column.name, descending };
    // Text is in the order of what is shown.
    const text = KINDS[column.kind].show === visible;
    const value = ({ row: { [column.name]: raw = null } }) => (text && raw !== null ? visible(raw) : raw);
    const order = (nodes) => {
      nodes.sort((a, b) => compare(value(a), value(b), descending));
      nodes.forEach((node) => order(node.children));
    };
    order(this.roots);
    this.body.append(...[...walk(this.roots)].map((node) => node.element));
    this.mark();
  }

  mark() {
    this.columns.forEach((column, at) => {
      const header = this.headers[at];
      if (column.name !== this.sorted.name) header.removeAttribute("aria-sort");
      else header.setAttribute("aria-sort", this.sorted.descending ? "descending" : "ascending");
    });
  }

  open(node, open) {
    node.open = open;
    this.show();
  }

  openAll(open) {
    for (const node of this.nodes) node.open = open;
    this.show();
  }

  /** Arrows in a tree: right opens, left closes, up and down go to the next switch. */
  key(event, node) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "ArrowRight") this.open(node, true);
    else if (event.key === "ArrowLeft" && node.open) this.open(node, false);
    else if (event.key === "ArrowLeft") node.parent?.button.focus();
    else if (step) {
      const buttons = [...walk(this.roots)]
        .filter((other) => other.button && !other.element.hidden)
        .map((other) => other.button);
      buttons[buttons.indexOf(node.button) + step]?.focus();
    } else return;
    event.preventDefault();
  }

  /** Shows what matches with all that it is in; or, unless searched, what is open. */
  show() {
    let matches = 0;
    const visit = (node, shown) => {
      const is = this.query !== "" && node.text.toLowerCase().includes(this.query);
      matches += Number(is);
      const below = node.children.map((child) => visit(child, shown && node.open)).some(Boolean);
      const found = is || below;
      node.element.hidden = this.query === "" ? !shown : !found;
      node.button?.setAttribute("aria-expanded", String(this.query === "" ? node.open : below));
      return found;
    };
    this.roots.forEach((root) => visit(root, true));
    if (!this.status) return;
    const all = grouped(this.nodes.length);
    this.status.textContent = this.query === "" ? `${all} rows` : `${grouped(matches)} of ${all} rows match`;
  }
}

/** A table that is made when it is asked for: many rows that few will read. */
function behind(summary, table) {
  const details = el("details", {}, el("summary", {}, summary));
  const fill = () => details.append(new Grid(table()).element);
  details.addEventListener("toggle", fill, { once: true });
  return details;
}

/** Terms and what there is to say of them: text, or a list of texts. */
function facts(pairs) {
  const said = (value) => (Array.isArray(value) ? el("ul", {}, value.map((one) => el("li", {}, foreign(one)))) : foreign(value));
  const given = pairs.filter(([, value]) => value !== null && value !== undefined && value.length !== 0);
  return el("dl", { class: "facts" }, given.map(([name, value]) => [el("dt", {}, name), el("dd", {}, said(value))]));
}
