// The list of exchanges: newest first, filtered, and moved through by keys.

import { render as renderTree } from "./agents.js";
import { badge, byId, count, duration, h, rate, tierName, timeOfDay } from "./dom.js";

const COLUMNS = [
  ["Time", "", (x) => [h("time", {}, timeOfDay(x.time)), x.replay_of && h("span", { class: "tag" }, "replay")]],
  ["Model", "model", (x) => models(x)],
  ["Tier", "wide", (x) => tierName(x.tier)],
  ["Status", "", (x) => [badge(x), x.error && h("span", { class: "error" }, x.error)]],
  ["First byte", "number", (x) => duration(x.first_byte)],
  ["Duration", "number wide", (x) => (x.state === "running" ? "…" : duration(x.duration))],
  ["In", "number", (x) => count(x.input_tokens), "Tokens that were read, without those out of the cache"],
  ["Cached", "number", (x) => count(x.cached_tokens), "Tokens out of the provider's cache"],
  ["Out", "number", (x) => count(x.output_tokens), "Tokens that were written"],
  ["Tok/s", "number wide", (x) => rate(x.tokens_per_second), "Tokens per second, from the first byte on"],
  ["Boost", "", (x) => boost(x)],
];

const exchanges = new Map(); // oldest first
const rows = new Map();
let body = null;
let current = null; // the id of the row that has, or would get, the focus
let chosen = false; // by the viewer; until then it is the newest
let open = () => {};

export const find = (id) => exchanges.get(id);

/** Make the table. `onOpen` gets the id of the exchange that the viewer wants to see. */
export function start(onOpen) {
  open = onOpen;
  for (const id of ["filter", "tier", "status", "order"]) byId(id).addEventListener("input", show);
  byId("list").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && current) open(current);
  });
}

export function replaceAll(data) {
  exchanges.clear();
  rows.clear();
  body = null;
  byId("list").replaceChildren();
  update(data);
}

/** Take changed exchanges in, and forget those that the proxy has forgotten. */
export function update(data) {
  for (const exchange of data.exchanges) {
    exchanges.set(exchange.id, exchange);
    if (body) fill(exchange);
  }
  for (const id of exchanges.keys()) {
    if (id === data.oldest) break;
    exchanges.delete(id);
    rows.get(id)?.remove();
    rows.delete(id);
  }
  if (exchanges.size && !body) {
    makeTable();
    exchanges.forEach(fill);
  }
  show();
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
  byId("list").hidden = isTree && exchanges.size > 0;
  byId("tree").hidden = !byId("list").hidden;
  if (!byId("tree").hidden) renderTree(byId("tree"), visibleIds().reverse().map(find), open);
}

const visibleIds = () => [...exchanges.keys()].reverse().filter((id) => !rows.get(id)?.hidden);

function makeTable() {
  const heads = COLUMNS.map(([name, kind, , title]) => h("th", { scope: "col", class: kind, title }, name));
  body = h("tbody");
  byId("list").replaceChildren(
    h("table", { role: "grid", "aria-label": "Exchanges, newest first" }, h("thead", {}, h("tr", {}, heads)), body),
  );
}

function fill(exchange) {
  let row = rows.get(exchange.id);
  if (!row) {
    const { id } = exchange;
    row = h("tr", { tabindex: "-1", onclick: () => open(id), onfocus: () => choose(id), "data-id": id });
    rows.set(id, row);
    body.prepend(row);
  }
  row.className = exchange.state;
  row.replaceChildren(...COLUMNS.map(([, kind, cell]) => h("td", { class: kind }, cell(exchange))));
}

function models({ client_model: asked, model, path, stream }) {
  const kind = path.endsWith("/count_tokens") ? "count tokens" : stream ? "" : "not streamed";
  const real = model && model !== asked ? [h("span", { class: "real" }, `→ ${model}`)] : [];
  const tag = kind && h("span", { class: "tag" }, kind);
  return h("div", { class: "models" }, h("span", { class: "asked" }, asked ?? model ?? "–"), ...real, tag);
}

function boost({ boost_outcome: outcome, boost_loops: loops }) {
  return outcome ? [h("span", { class: "tag boost" }, outcome), loops > 1 ? ` ×${loops}` : ""] : "–";
}

function matches(exchange, words, tier, state) {
  if ((tier && exchange.tier !== tier) || (state && exchange.state !== state)) return false;
  const { id, request_id, client_model, model, status, error, boost_outcome, path, state: is } = exchange;
  const { session_id: session, agent_id: agent, agent_type: type, request_class: cls, client_key: key } = exchange;
  const text = [id, request_id, client_model, model, status, error, boost_outcome, path, is, session, agent, type, cls, key]
    .join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

/** Hide what the filter leaves out, and say what is there. */
function show() {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [tier, state] = [byId("tier").value, byId("status").value];
  let shown = 0;
  for (const exchange of exchanges.values()) {
    const visible = matches(exchange, words, tier, state);
    rows.get(exchange.id).hidden = !visible;
    shown += visible;
  }
  const all = exchanges.size;
  byId("count").textContent = shown === all ? `${all} kept` : `${shown} of ${all}`;
  byId("list").querySelector(".empty")?.remove();
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
