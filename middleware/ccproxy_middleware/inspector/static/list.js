// The list of exchanges: newest first, filtered, and moved through by keys.

import { render as renderTree } from "./agents.js";
import {
  badge, byId, cachedShare, count, duration, h, rate, shortId, tierName, timeOfDay, tokens, tokensIn,
} from "./dom.js";

const COLUMNS = [
  ["Time", "time", (x) => [h("time", {}, timeOfDay(x.time)), x.replay_of && h("span", { class: "tag" }, "replay")]],
  ["Request", "about", (x) => about(x)],
  ["Tier", "wide", (x) => tierName(x.tier)],
  ["Status", "status", (x) => [badge(x), x.error && h("span", { class: "error" }, x.error)]],
  ["First byte", "number", (x) => duration(x.first_byte)],
  ["Duration", "number", (x) => (x.state === "running" ? "…" : duration(x.duration))],
  ["In", "number", (x) => tokens(tokensIn(x)), "Tokens that the model has read, those out of the cache included"],
  ["Cached", "number", (x) => h("span", { title: cached(x) }, cachedShare(x)), "The part of In that came out of the provider's cache"],
  ["Out", "number", (x) => tokens(x.output_tokens), "Tokens that the model has written"],
  ["Tok/s", "number wide", (x) => rate(x.tokens_per_second), "Output tokens per second, from the first byte on"],
];

const exchanges = new Map(); // oldest first
const rows = new Map();
const kept = new Map(); // out of the history, newest first
let body = null;
let keptBody = null;
let current = null; // the id of the row that has, or would get, the focus
let chosen = false; // by the viewer; until then it is the newest
let on = {};

export const find = (id) => exchanges.get(id) ?? kept.get(id);

/** Whether an exchange is in the memory of the worker that tells of the list. */
export const isLive = (id) => exchanges.has(id);

/** Make the table. `open` gets the id of the exchange that the viewer wants to see, `save` the id of a session. */
export function start(handlers) {
  on = handlers;
  for (const id of ["filter", "tier", "status", "order"]) byId(id).addEventListener("input", show);
  byId("list").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && current) on.open(current);
  });
}

/** Take the whole list in, in the place of what was known; the rows that stay keep the focus. */
export function replaceAll(data) {
  const kept = new Set(data.exchanges.map(({ id }) => id));
  for (const id of [...exchanges.keys()]) if (!kept.has(id)) remove(id);
  update(data);
}

/** Take changed exchanges in, and forget those that the proxy has forgotten. */
export function update(data) {
  if (data.exchanges.length && !body) makeTable();
  for (const exchange of data.exchanges) {
    if (kept.delete(exchange.id)) remove(exchange.id);
    exchanges.set(exchange.id, exchange);
    fill(exchange, body);
  }
  for (const id of [...exchanges.keys()]) {
    if (id === data.oldest) break;
    remove(id);
  }
  show();
}

/** Take exchanges of the history in, below all others. */
export function addKept(lines) {
  if (lines.length && !body) makeTable();
  for (const exchange of lines) {
    if (exchanges.has(exchange.id) || kept.has(exchange.id)) continue;
    kept.set(exchange.id, exchange);
    fill(exchange, keptBody);
  }
  show();
}

export function clearKept() {
  for (const id of [...kept.keys()]) remove(id);
  show();
}

/** The oldest exchange that is shown of the history; without one, the oldest of all. */
export const oldest = () => [...kept.keys()].at(-1) ?? exchanges.keys().next().value;

export const hasKept = () => kept.size > 0;

function remove(id) {
  exchanges.delete(id);
  kept.delete(id);
  rows.get(id)?.remove();
  rows.delete(id);
}

/** The exchange that stands `step` rows below this one, if there is one. */
export function neighbour(id, step) {
  const visible = visibleIds();
  return visible[visible.indexOf(id) + step];
}

/** Move the focus by `step` rows; without a focus yet, to the first. */
export function move(step) {
  const visible = visibleIds();
  const at = visible.indexOf(current);
  const inside = byId("list").contains(document.activeElement);
  focus(visible[inside ? Math.max(0, Math.min(visible.length - 1, at + step)) : Math.max(0, at)]);
}

export function focus(id) {
  const row = rows.get(id);
  if (!row) return;
  choose(id);
  row.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

function choose(id) {
  chosen = true;
  setCurrent(id);
}

function setCurrent(id) {
  rows.get(current)?.setAttribute("tabindex", "-1");
  current = id;
  rows.get(current)?.setAttribute("tabindex", "0");
}

/** The exchanges by who has asked them, in the place of the table. */
function showTree() {
  const isTree = byId("order").value === "tree";
  byId("list").hidden = isTree && exchanges.size + kept.size > 0;
  byId("tree").hidden = !byId("list").hidden;
  if (!byId("tree").hidden) renderTree(byId("tree"), visibleIds().reverse().map(find), on.open, on.save);
}

const visibleIds = () => [...[...exchanges.keys()].reverse(), ...kept.keys()].filter((id) => !rows.get(id)?.hidden);

function makeTable() {
  const heads = COLUMNS.map(([name, kind, , title]) => h("th", { scope: "col", class: kind, title }, name));
  body = h("tbody");
  keptBody = h("tbody");
  byId("list").replaceChildren(
    h("table", { role: "grid", "aria-label": "Exchanges, newest first" }, h("thead", {}, h("tr", {}, heads)), body, keptBody),
  );
}

function fill(exchange, place) {
  let row = rows.get(exchange.id);
  if (!row) {
    const { id } = exchange;
    row = h("tr", { tabindex: "-1", onclick: () => on.open(id), onfocus: () => choose(id), "data-id": id });
    rows.set(id, row);
    if (place === body) place.prepend(row);
    else place.append(row);
  }
  row.className = exchange.state;
  row.replaceChildren(...COLUMNS.map(([name, kind, cell]) => td(name, kind, cell(exchange))));
}

function td(name, kind, content) {
  const cell = h("td", { class: kind, "data-name": name }, content);
  if (cell.textContent === "–") cell.classList.add("unknown");
  return cell;
}

/** What it is about: the user's last words, then the models, and who has asked. */
function about(x) {
  const { client_model: asked, model, path, stream, said, after, session_id: session } = x;
  const kind = path.endsWith("/count_tokens") ? "count tokens" : stream || x.state === "running" ? "" : "not streamed";
  const agent = [x.agent_type, x.agent_id && shortId(x.agent_id)].filter(Boolean).join(" ") || x.request_class;
  return [
    said && h("div", { class: "said", title: said }, said),
    h("div", { class: "models" },
      h("span", { class: said ? "asked" : "asked said" }, asked ?? model ?? path),
      model && model !== asked && h("span", { class: "real" }, `→ ${model}`),
      after && h("span", { class: "tag" }, `after ${after}`), kind && h("span", { class: "tag" }, kind),
      agent && h("span", { class: x.agent_id ? "tag agent" : "tag" }, agent), boost(x),
      x.client_key && h("span", { class: "session" }, x.client_key),
      session && h("span", { class: "session", title: `Session ${session}` }, `session ${shortId(session)}`)),
  ];
}

function cached(x) {
  if (tokensIn(x) === null) return null;
  return `${count(x.cached_tokens ?? 0)} of ${count(tokensIn(x))} tokens`;
}

function boost({ boost_outcome: outcome, boost_loops: loops }) {
  return outcome && h("span", { class: "tag boost" }, `boost: ${outcome}${loops > 1 ? ` ×${loops}` : ""}`);
}

const SEARCHED = [
  "id", "request_id", "client_model", "model", "status", "error", "boost_outcome", "path", "state", "session_id", "agent_id",
  "agent_type", "request_class", "said", "after", "upstream", "client_key",
];

function matches(exchange, words, tier, state) {
  if ((tier && exchange.tier !== tier) || (state && exchange.state !== state)) return false;
  const text = SEARCHED.map((name) => exchange[name]).join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

/** Hide what the filter leaves out, and say what is there. */
function show() {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [tier, state] = [byId("tier").value, byId("status").value];
  let shown = 0;
  for (const exchange of [...exchanges.values(), ...kept.values()]) {
    const visible = matches(exchange, words, tier, state);
    rows.get(exchange.id).hidden = !visible;
    shown += visible;
  }
  const all = exchanges.size + kept.size;
  byId("count").textContent = shown === all ? `${count(all)} kept` : `${count(shown)} of ${count(all)}`;
  byId("list").querySelector(".empty")?.remove();
  if (body) body.parentElement.hidden = !shown;
  if (!shown) byId("list").append(all ? nothingFound() : nothingYet());
  const visible = visibleIds();
  if (!chosen || !visible.includes(current)) setCurrent(visible[0] ?? null);
  showTree();
}

function nothingYet() {
  const url = new URL("..", location.href).href.replace(/\/$/, "");
  return h("div", { class: "empty" },
    h("h2", {}, "No exchange yet"),
    h("p", {}, "Point Claude Code at this proxy, and each request shows up here while it runs:"),
    h("pre", { tabindex: "0" }, `ANTHROPIC_BASE_URL=${url} claude`));
}

function nothingFound() {
  const clear = () => {
    for (const id of ["filter", "tier", "status"]) byId(id).value = "";
    show();
    byId("filter").focus();
  };
  return h("div", { class: "empty" }, h("p", {}, "No exchange fits the filter."),
    h("button", { type: "button", onclick: clear }, "Clear the filter"));
}
