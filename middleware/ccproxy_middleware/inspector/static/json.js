// JSON as a tree that can be folded, with what the other side lacks marked.

import { count, h } from "./dom.js";

const LONG = 900; // characters of a string that are shown at first
const OPEN_DEPTH = 4;
const OPEN_LENGTH = 12; // of a longer list the items are folded
const WORDS_LENGTH = 50_000; // characters of what the user has said last
const TURNS = ["messages", "input"];
const FOLDED = ["tools"]; // lists whose items are folded however few
const TEXTS = ["text", "input_text", "output_text"];

const unmade = new WeakMap(); // folded objects, and what makes their inside

/** What a document holds: to ask whether a value of the other side is in it. */
export class Contents {
  constructor(document) {
    this.texts = new Set();
    this.pairs = new Set();
    this.found = new Map(); // what was looked for in the whole text, which takes long
    this.collect(document, "");
    this.text = [...this.texts].join("\n");
  }

  collect(value, key) {
    if (Array.isArray(value)) value.forEach((item) => this.collect(item, key));
    else if (value && typeof value === "object") {
      for (const [name, item] of Object.entries(value)) this.collect(item, name);
    } else if (typeof value === "string") {
      this.texts.add(value);
      const inner = parsed(value);
      if (inner) this.collect(inner, key);
    } else this.pairs.add(`${key}=${value}`);
  }

  /** Whether a value is there: a text anywhere, also as a part of another; anything else under the same name. */
  has(value, key) {
    if (typeof value !== "string") return value === null || this.pairs.has(`${key}=${value}`);
    if (this.texts.has(value)) return true;
    if (!this.found.has(value)) {
      const inner = parsed(value);
      this.found.set(value, inner ? this.hasAll(inner) : this.text.includes(value.trim()));
    }
    return this.found.get(value);
  }

  hasAll(value, key = "") {
    if (Array.isArray(value)) return value.every((item) => this.hasAll(item, key));
    if (!value || typeof value !== "object") return this.has(value, key);
    const entries = Object.entries(value);
    return entries.every(([name, item]) => (name === "type" && entries.length > 1) || this.hasAll(item, name));
  }
}

/** The object that a string holds as JSON, as the arguments of OpenAI's tool calls do. */
function parsed(text) {
  if (!/^\s*[{[]/.test(text)) return null;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The tree of a document. `other` are the Contents of the other side, if the two are to be compared. */
export function tree(value, other = null) {
  return h("div", { class: "json" }, node(value, null, other, 0, ""));
}

function node(value, label, other, depth, key, long = LONG) {
  const name = label === null ? null : h("span", { class: "name" }, `${label}: `);
  if (value === null || typeof value !== "object") return leaf(value, name, other, key, long);
  if (TEXTS.includes(value.type) && typeof value.text === "string") return wrapped(value, label, other, long);
  const entries = Object.entries(value);
  const isList = Array.isArray(value);
  if (!entries.length) return h("div", { class: "leaf" }, name, isList ? "[]" : "{}");
  const last = isList && TURNS.includes(key) ? value.findLastIndex((turn) => turn?.role === "user") : Infinity;
  const children = () => entries.map(([child, item]) => {
    const isForm = child === "type" && entries.length > 1; // it tells of the other entries' form, and has none of its own
    const below = isList && (FOLDED.includes(key) || (entries.length > OPEN_LENGTH && child < last)) ? OPEN_DEPTH : depth + 1;
    return node(item, child, isForm ? null : other, below, isList ? key : child, Number(child) === last ? WORDS_LENGTH : long);
  });
  const size = isList ? `[${count(entries.length)}]` : `{${count(entries.length)}}`;
  const summary = h("summary", {}, name, h("span", { class: "size" }, size), " ",
    h("span", { class: "hint" }, hint(value)));
  const differs = other !== null && !other.hasAll(value, key);
  const place = h("details", { class: differs ? "differs" : null }, summary);
  unmade.set(place, () => place.append(h("div", { class: "children" }, children())));
  place.addEventListener("toggle", () => make(place));
  if (depth < OPEN_DEPTH) open(place);
  return place;
}

/** A part that is no more than a text: in one line, with what else there is of it below. */
function wrapped({ type, text, ...rest }, label, other, long) {
  const name = h("span", { class: "name" }, label === null ? "" : `${label}: `, h("span", { class: "size" }, `${type} `));
  const more = Object.entries(rest).map(([key, value]) => node(value, key, other, OPEN_DEPTH, key));
  const row = leaf(text, name, other, "text", long);
  return more.length ? h("div", {}, row, h("div", { class: "children" }, more)) : row;
}

/** Make what is inside a folded object, which is not there before somebody looks: requests have many thousand parts. */
function make(details) {
  unmade.get(details)?.();
  unmade.delete(details);
}

function open(details) {
  make(details);
  details.open = true;
}

/** What a folded object is about. */
function hint(value) {
  const { type, role, name, function: called, title } = value;
  const words = [role, type, name ?? called?.name ?? title].filter((word) => typeof word === "string");
  const said = textIn(value.content) ?? textIn(value.output);
  return [words.join(" · ").slice(0, 80), said?.trim().slice(0, 80)].filter(Boolean).join(" · ");
}

/** The first text of a content. */
const textIn = (content) => (typeof content === "string" ? content
  : Array.isArray(content) ? content.find((part) => typeof part?.text === "string")?.text : undefined);

function leaf(value, name, other, key, long = LONG) {
  const only = other !== null && !other.has(value, key);
  const text = typeof value === "string" ? value : String(value);
  const kind = typeof value === "string" ? "string" : "literal";
  const shown = h("span", { class: kind }, text.slice(0, long) || (kind === "string" ? "“”" : ""));
  const row = h("div", { class: only ? "leaf only" : "leaf", tabindex: only ? "-1" : null }, name, shown);
  if (only) row.append(h("span", { class: "hidden" }, " (not on the other side)"));
  if (text.length > long) {
    const more = h("button", { type: "button", class: "link" }, `… all ${count(text.length)} characters`);
    more.addEventListener("click", () => { shown.textContent = text; more.remove(); });
    row.append(" ", more);
  }
  return row;
}

/** Unfold or fold everything below the first two levels. */
export function fold(place, unfold) {
  if (!unfold) return place.querySelectorAll(".json details details").forEach((details) => { details.open = false; });
  let folded;
  while ((folded = [...place.querySelectorAll(".json details:not([open])")]).length) folded.forEach(open);
}

/** Go to the next difference after the one that has the focus. Returns what to say about it. */
export function nextDifference(place) {
  let folded;
  while ((folded = [...place.querySelectorAll(".json details.differs:not([open])")]).length) folded.forEach(open);
  const found = [...place.querySelectorAll(".only")];
  if (!found.length) return "Everything of each side is on the other";
  const at = (found.indexOf(document.activeElement) + 1) % found.length;
  found[at].focus({ preventScroll: true });
  found[at].scrollIntoView({ block: "center" });
  return `Difference ${at + 1} of ${found.length}`;
}
