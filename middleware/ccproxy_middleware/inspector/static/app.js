// The page: which view is shown, what the keys do, and the connection to the proxy.

import * as api from "./api.js";
import * as charts from "./charts.js";
import * as detail from "./detail.js";
import { byId, bytes, saveFile, say } from "./dom.js";
import * as history from "./history.js";
import * as list from "./list.js";
import * as usage from "./usage.js";

const PAUSE = 1000; // milliseconds between two looks at an exchange that still runs

let shown = null; // the id of the exchange in the detail view
let ended = null; // the id of the exchange in the detail view, if it was over when it was fetched
let looked = 0;
let waiting = 0;
let limits = {};
let paused = null; // the ids that have come since the viewer has paused the list, or null
const awaited = new Set(); // ids of exchanges whose replay is to be opened

function start() {
  list.start({ open: (id) => go(id), save });
  api.setHolder((id) => (list.isLive(id) ? limits.worker : ""));
  charts.start();
  history.start();
  usage.start();
  byId("key").addEventListener("submit", useKey);
  byId("pause").addEventListener("click", pause);
  byId("help").addEventListener("click", () => byId("keys-dialog").showModal());
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
  if (paused) return hold(data);
  limits = data;
  list.replaceAll(data);
  history.show(data.history);
  usage.show(data.usage);
  told(data);
  route();
}

function changes(data) {
  if (paused) return hold(data);
  list.update(data);
  told(data);
  for (const { id, replay_of: original } of data.exchanges) {
    if (awaited.delete(original)) go(id);
    else if (id === shown) look();
  }
}

/** Hold the list still, or let it go on from how things are now. */
async function pause() {
  paused = paused === null ? new Set() : null;
  showPause();
  if (paused !== null) return;
  try {
    const data = await api.everything(limits.worker);
    if (paused === null) everything(data);
  } catch (error) {
    say(error.message, true);
  }
}

/** Count what comes while the list is paused. */
function hold(data) {
  for (const { id } of data.exchanges) if (!list.find(id)) paused.add(id);
  showPause();
}

function showPause() {
  byId("pause").setAttribute("aria-pressed", String(paused !== null));
  byId("pause").textContent = paused === null ? "Pause" : paused.size ? `Paused, ${paused.size} new` : "Paused";
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

/** Save a session as one file. */
async function save(session) {
  try {
    saveFile(await api.session(session, limits.worker), `session-${session.replace(/[^A-Za-z0-9]+/g, "-").slice(0, 80)}.json`);
    say("Saved: every exchange of the session that is kept.");
  } catch (error) {
    say(error.message, true);
  }
}

/** Send the request of an exchange again, and show the new exchange as soon as it begins. */
async function replay({ id }) {
  awaited.add(id);
  if (paused) pause();
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
    const over = exchange.state !== "running" && id; // then nothing of it changes any more
    if (!fresh && over && over === ended) return;
    ended = over;
    detail.render(byId("detail"), exchange, { go, replay, save });
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
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") {
    if (shown !== null) go(null);
    else if (event.target === byId("filter")) list.move(0);
    return;
  }
  if (typing && !(event.target === byId("filter") && event.key === "ArrowDown")) return;
  if (event.target.matches("[role=tab], summary") && event.key.startsWith("Arrow")) return;
  const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
  const tab = detail.TABS[event.key - 1];
  if (event.key === "?") byId("keys-dialog").showModal();
  else if (event.key === "p" && byId("key").hidden) pause();
  else if (event.key === "/" && shown === null) byId("filter").focus();
  else if (tab && shown !== null) detail.choose(tab);
  else if (step && shown === null) list.move(step);
  else if (step && !event.key.startsWith("Arrow")) go(shown, step);
  else return;
  event.preventDefault();
}

start();
