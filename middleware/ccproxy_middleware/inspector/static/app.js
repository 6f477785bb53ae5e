// The page: which view is shown, what the keys do, and the connection to the proxy.

import * as api from "./api.js";
import * as charts from "./charts.js";
import * as detail from "./detail.js";
import { byId, bytes, say } from "./dom.js";
import * as list from "./list.js";

const PAUSE = 1000; // milliseconds between two looks at an exchange that still runs

let shown = null; // the id of the exchange in the detail view
let looked = 0;
let waiting = 0;
let limits = {};
const awaited = new Set(); // ids of exchanges whose replay is to be opened

function start() {
  list.start((id) => go(id));
  charts.start();
  byId("key").addEventListener("submit", useKey);
  document.addEventListener("keydown", onKey);
  addEventListener("hashchange", route);
  connect();
}

/** Follow the list; ask for the key where it is missing. */
async function connect() {
  view("overview");
  try {
    await api.follow({ state: connection, everything, changes });
  } catch (error) {
    connection("refused");
    byId("key-problem").textContent = error.status === 401 ? (api.hasKey() ? "This key was not accepted." : "") : error.message;
    view("key");
    byId("key-input").focus();
  }
}

function useKey(event) {
  event.preventDefault();
  api.setKey(byId("key-input").value.trim());
  byId("key-input").value = "";
  connect();
  byId("main").focus();
}

function connection(state) {
  const place = byId("connection");
  if (place.dataset.state === state && place.textContent !== "Connecting…") return;
  place.dataset.state = state;
  place.hidden = state === "refused";
  place.textContent = state === "live" ? "Live" : "Connection lost, trying again…";
}

function everything(data) {
  limits = data;
  list.replaceAll(data);
  told(data);
  route();
}

function changes(data) {
  list.update(data);
  told(data);
  for (const { id, replay_of: original } of data.exchanges) {
    if (awaited.delete(original)) go(id);
    else if (id === shown) look();
  }
}

function told(data) {
  byId("worker").textContent = `worker ${limits.worker} · ${bytes(data.size)} of ${bytes(limits.max_bytes)}`;
  byId("worker").title = "Each worker process of the server keeps its own exchanges";
  charts.draw(data.minutes);
}

/** Show another exchange: `id`, or the one that stands `step` rows below it; null is the list. */
function go(id, step = 0) {
  const target = step ? list.neighbour(id, step) : id;
  if (target === undefined) say("There is no other one.");
  else location.hash = target === null ? "" : target;
}

/** Send the request of an exchange again, and show the new exchange as soon as it begins. */
async function replay({ id }) {
  awaited.add(id);
  say("Sent again.");
  await api.replay(id);
}

function route() {
  const id = location.hash.slice(1) || null;
  const before = shown;
  shown = id;
  if (id !== null) return look(id !== before);
  view("overview");
  charts.shown();
  list.focus(before);
}

/** Fetch the shown exchange and show it; at most once a second. */
async function look(fresh = false) {
  const rest = PAUSE - (performance.now() - looked);
  if (!fresh && rest > 0) {
    waiting ||= setTimeout(look, rest);
    return;
  }
  clearTimeout(waiting);
  waiting = 0;
  looked = performance.now();
  const id = shown;
  if (id === null) return;
  try {
    const exchange = await api.exchange(id);
    if (id !== shown) return;
    detail.render(byId("detail"), exchange, { go, replay });
    view("detail");
    if (fresh) {
      byId("detail").focus({ preventScroll: true });
      scrollTo(0, 0);
    }
  } catch (error) {
    if (id !== shown) return;
    say(error.message, true);
    if (fresh) go(null);
  }
}

function view(name) {
  for (const id of ["key", "overview", "detail"]) byId(id).hidden = id !== name;
}

function onKey(event) {
  const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || byId("text-dialog").open) return;
  if (event.key === "Escape") {
    if (shown !== null) go(null);
    else if (event.target === byId("filter")) list.move(0);
    return;
  }
  if (typing && !(event.target === byId("filter") && event.key === "ArrowDown")) return;
  if (event.target.matches("[role=tab], summary") && event.key.startsWith("Arrow")) return;
  const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
  if (event.key === "/" && shown === null) byId("filter").focus();
  else if (step && shown === null) list.move(step);
  else if (step && !event.key.startsWith("Arrow")) go(shown, step);
  else return;
  event.preventDefault();
}

start();
