// One exchange: its facts, both sides of its translation, and what can be done with it.

import * as api from "./api.js";
import { conversation } from "./conversation.js";
import {
  badge, byId, cachedShare, count, dollars, duration, h, rate, saveFile, say, shortId, tierName, timeOfDay, tokensIn,
} from "./dom.js";
import { Contents, fold, nextDifference, tree } from "./json.js";
import { timeline } from "./stream.js";

export const TABS = ["message", "request", "answer"];

let compares = true;
let tab = TABS[0];
let chosen = null; // the name of the request to a provider that is shown
let made = { of: null, section: null }; // the requests, which stay as they are while the answer grows
let drawn = null; // the exchange and how to draw it

/**
 * Show an exchange in `place`. `go` leads to another one, or with null back to the list; `replay` sends the request
 * of this one again; `save` gets the id of a session.
 */
export function render(place, exchange, handlers) {
  const side = exchange.providers.find(({ name }) => name === chosen) ?? exchange.providers.at(-1);
  const again = () => render(place, exchange, handlers);
  const opened = folds(place, exchange.id);
  drawn = again;
  place.replaceChildren(
    head(exchange, handlers), exchange.error_message && h("p", { class: "failure" }, h("b", {}, exchange.error), ` ${exchange.error_message}`) || "",
    facts(exchange, handlers.go), ...(exchange.attempts.length ? [attempts(exchange)] : []),
    ...(tab !== "message" && exchange.providers.length > 1 ? [sides(exchange.providers, side, again)] : []),
    h("div", { role: "tabpanel", id: "panel", "aria-labelledby": `tab-${tab}`, "data-of": exchange.id }, panel(exchange, side, again)),
  );
  opened(place);
}

/** Show another tab. */
export function choose(name) {
  tab = name;
  drawn?.();
}

function panel(exchange, side, again) {
  switch (tab) {
    case "request": return [
      ...(exchange.decisions.length ? [decisions(exchange.decisions)] : []), requestsOf(exchange, side, again)];
    case "answer": return [answers(exchange.client, side)];
    default: return [conversation(exchange, side, again)];
  }
}

/** What the viewer has folded or unfolded of the same exchange, to be done again: an answer that grows is drawn often. */
function folds(place, id) {
  const panel = place.querySelector("[role=tabpanel]");
  if (panel?.dataset.of !== id || panel.getAttribute("aria-labelledby") !== `tab-${tab}`) return () => {};
  const all = (under) => [...under.querySelectorAll(".talk > details, .talk > section > details")];
  const states = all(panel).map(({ open }) => open);
  return (now) => all(now.querySelector("[role=tabpanel]")).forEach((details, i) => {
    if (i >= states.length || details.open === states[i]) return;
    details.open = states[i];
    details.dispatchEvent(new Event("toggle")); // now, and not a moment later
  });
}

function head(exchange, { go, replay, save }) {
  const button = (text, act, title) => h("button", { type: "button", title, onclick: () => attempt(() => act(exchange)) }, text);
  const title = exchange.said ?? exchange.client_model ?? exchange.path;
  return h("header", { class: "top" },
    h("nav", { class: "row", "aria-label": "Exchanges" },
      h("button", { type: "button", class: "link", onclick: () => go(null) }, "← All exchanges"),
      h("span", { class: "grow" }),
      button("Replay", replay, "Send the client's request again"),
      button("Copy as curl", copyCurl, "The client's request as a command line"),
      menu("Save", !exchange.kept && button("Request case", (x) => saveCase(x, "request"), "Both requests as a test case"),
        !exchange.kept && button("Answer case", (x) => saveCase(x, "answer"), "Both answers as a test case"),
        exchange.session_id && button("Whole session", (x) => save(x.session_id), "All exchanges of the session as one file")),
      h("button", { type: "button", onclick: () => go(exchange.id, 1), "aria-label": "Older exchange" }, "Older ↓"),
      h("button", { type: "button", onclick: () => go(exchange.id, -1), "aria-label": "Newer exchange" }, "Newer ↑")),
    h("div", { class: "row title" }, h("h2", { title }, title), badge(exchange), exchange.kept && h("span", { class: "tag" }, "kept")),
    h("div", { class: "row" }, tabs(), h("span", { class: "grow" }),
      h("p", { class: "quiet" }, exchange.client_model ?? "", exchange.model && exchange.model !== exchange.client_model && ` → ${exchange.model}`)));
}

/** Buttons that stand below another one until they are needed. */
function menu(name, ...items) {
  const place = h("details", { class: "menu" }, h("summary", { role: "button" }, `${name} ▾`), h("div", { class: "card" }, items));
  place.querySelector("div").addEventListener("click", () => { place.open = false; });
  place.addEventListener("focusout", (event) => { if (!place.contains(event.relatedTarget)) place.open = false; });
  place.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !place.open) return;
    event.stopPropagation();
    place.open = false;
    place.querySelector("summary").focus();
  });
  return place;
}

function tabs() {
  const pick = (name) => {
    choose(name);
    byId(`tab-${name}`).focus();
  };
  const move = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    pick(TABS[(TABS.indexOf(tab) + step + TABS.length) % TABS.length]);
  };
  return h("div", { class: "tabs", role: "tablist", "aria-label": "Parts of the exchange", onkeydown: move },
    TABS.map((name, i) => h("button", {
      type: "button", role: "tab", id: `tab-${name}`, "aria-selected": String(name === tab), "aria-controls": "panel",
      tabindex: name === tab ? "0" : "-1", "aria-keyshortcuts": i + 1, onclick: () => pick(name),
    }, name[0].toUpperCase() + name.slice(1))));
}

function facts(x, go) {
  const original = x.replay_of && h("button", { type: "button", class: "link", onclick: () => go(x.replay_of) }, x.replay_of);
  const input = tokensIn(x);
  const share = x.cached_tokens ? `, ${count(x.cached_tokens)} of them cached (${cachedShare(x)})` : "";
  const agent = [x.agent_type, x.agent_id].filter(Boolean).join(" ");
  const main = [
    ["Time", timeOfDay(x.time)], ["First byte", duration(x.first_byte)], ["Duration", duration(x.duration)],
    ["Tokens in", input === null ? null : `${count(input)}${share}`], ["Tokens out", x.output_tokens && count(x.output_tokens)],
    ["Tokens per second", x.tokens_per_second && rate(x.tokens_per_second)], ["Cost", typeof x.cost === "number" && dollars(x.cost)],
    ["Stop reason", x.stop_reason],
    ["Tier", x.tier && `${tierName(x.tier)} (${x.tier})`], ["Images", x.vision], ["Web searches", x.web_searches],
    ["Boost", x.boost_outcome && `${x.boost_outcome}, ${x.boost_loops} loop${x.boost_loops === 1 ? "" : "s"}`],
    ["Retries", x.retries || null], ["Replay of", original],
    ["Asked by", [x.request_class, agent].filter(Boolean).join(", ")], ["Key", x.client_key],
    ["Session", x.session_id && shortId(x.session_id)],
  ];
  const more = [
    ["Exchange", x.id], ["Request id", x.request_id], ["Provider's id", x.upstream_request_id], ["Provider's profile", x.provider],
    ["Cache missed from", x.cache_break], ["Written to the cache", x.cache_write_tokens && `${count(x.cache_write_tokens)} tokens`],
    ["Session", x.session_id], ["Prompt", x.prompt_id], ["Agent", x.agent_id], ["Parent agent", x.parent_agent_id],
    ["Compaction", x.compaction], ["Tools before it, ms", x.tool_durations],
  ];
  const list = (pairs) => h("dl", { class: "facts" },
    pairs.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  const rest = h("details", { class: "more-facts", open: factsOpen }, h("summary", {}, "Ids and more"), list(more));
  rest.addEventListener("toggle", () => { factsOpen = rest.open; });
  return h("div", { class: "card" }, list(main), rest);
}

let factsOpen = false;

/** The candidates, each in a row: which was asked, when, and why it was passed over. */
function attempts(x) {
  const column = (name) => h("th", { scope: "col" }, name);
  const row = (a) => h("tr", {},
    h("td", {}, `${a.upstream}:${a.model}`), h("td", { class: "number" }, a.key + 1), h("td", { class: "number" }, duration(a.at)),
    h("td", { class: "number" }, a.waited ? duration(a.waited) : ""),
    h("td", { class: "number" }, a.asked && a.ended !== null ? duration(a.ended - a.at) : ""),
    h("td", {}, a.reason ? `${a.asked ? "" : "not asked: "}${a.reason.replaceAll("_", " ")}` : String(a.status ?? "")),
    h("td", { class: "number" }, a.cooled ? duration(a.cooled) : ""));
  return h("details", { class: "card section", open: x.attempts.length > 1 },
    h("summary", {}, h("h3", {}, `Route: rule ${x.rule}, upstream ${x.upstream} (${x.attempts.length})`)),
    h("div", { class: "scrolls" }, h("table", { class: "attempts" },
      h("thead", {}, h("tr", {}, ["Candidate", "Key", "At", "Waited", "Took", "Result", "Left alone for"].map(column))),
      h("tbody", {}, x.attempts.map(row)))));
}

function decisions(lines) {
  return h("details", { class: "card section", open: true },
    h("summary", {}, h("h3", {}, `What the conversion decided (${lines.length})`)),
    h("ul", {}, lines.map((line) => h("li", {}, line))),
    h("p", { class: "quiet" }, "Names in lower case are switches of the provider’s profile: ",
      h("code", {}, "PROVIDER_OPTIONS"), " sets them. Names in capitals are settings."));
}

/** The choice between several requests to providers. */
function sides(calls, side, again) {
  const pick = (call) => {
    chosen = call.name;
    again();
    byId("detail").querySelector('.calls [aria-selected="true"]').focus();
  };
  const move = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    pick(calls[(calls.indexOf(side) + step + calls.length) % calls.length]);
  };
  return h("div", { class: "tabs calls", role: "tablist", "aria-label": "Requests to providers", onkeydown: move },
    calls.map((call) => h("button", {
      type: "button", role: "tab", "aria-selected": String(call === side), tabindex: call === side ? "0" : "-1",
      onclick: () => pick(call),
    }, call.name, h("span", { class: "quiet" }, ` +${duration(call.at)} · ${call.answer.status ?? "…"}`))));
}

/** The requests' section, made once, so that it stays folded as the viewer has left it. */
function requestsOf({ id, client }, side, again) {
  const of = [id, side?.name, compares].join();
  if (made.of !== of) made = { of, section: requests(client, side, again) };
  return made.section;
}

function requests(client, side, again) {
  const [left, right] = [client.request, side?.request];
  const compared = compares && left.json !== undefined && right?.json !== undefined;
  const contents = (document) => (compared ? new Contents(document.json) : null);
  const place = h("div", { class: "sides" });
  place.append(
    column(`Client’s request`, `${left.method} ${left.path}`, client, left, contents(right)),
    side ? column(`Request to ${called(side)}`, `${right.method} ${right.path}`, side, right, contents(left)) : nothing(),
  );
  const toggle = h("input", { type: "checkbox", checked: compares });
  toggle.addEventListener("change", () => { compares = toggle.checked; again(); });
  return section("Request", place, h("label", {}, toggle, " Mark what the other side lacks"),
    compared && h("button", { type: "button", onclick: () => say(nextDifference(place)) }, "Next difference"),
    h("button", { type: "button", onclick: () => fold(place, true) }, "Unfold"),
    h("button", { type: "button", onclick: () => fold(place, false) }, "Fold"));
}

function answers(client, side) {
  const [given, got] = [side?.answer, client.answer];
  if (!given?.events || !got.events) {
    const place = h("div", { class: "sides" },
      side ? column(`Answer of ${called(side)}`, given.status ?? "no answer yet", side, given) : nothing(),
      column("Client’s answer", got.status ?? "no answer yet", client, got));
    return section("Answer", place);
  }
  const title = (text, events, call) => h("div", {}, h("h4", {}, text),
    h("p", { class: "quiet" }, `${events.length} events`, call.cut && " · cut"), headers(call.answer.headers));
  return section("Answer", [
    h("div", { class: "sides" }, title(`Stream of ${called(side)}`, given.events, side),
      title("Client’s events", got.events, client)),
    ...timeline(given.events, got.events),
  ]);
}

const called = (side) => `the ${side.name}`;

const nothing = () => h("div", {}, h("p", { class: "quiet" }, "No request was sent to a provider."));

function section(title, content, ...tools) {
  return h("section", { class: "card section", "aria-label": title },
    h("div", { class: "row" }, h("h3", {}, title), h("span", { class: "grow" }), ...tools), content);
}

function column(title, line, call, half, other = null) {
  const body = half.json !== undefined ? tree(half.json, other) : half.events
    ? timeline(half.events, []) : h("pre", {}, half.text ?? "(no body)");
  const notes = [call.cut && "too large, cut", half === call.answer && call.own_error && "by the proxy itself"];
  return h("div", {}, h("h4", {}, title),
    h("p", { class: "quiet" }, [line, ...notes].filter(Boolean).join(" · ")), headers(half.headers), body);
}

function headers(list) {
  return h("details", { class: "headers" }, h("summary", {}, `${list.length} headers`),
    h("dl", {}, list.map(([name, value]) => h("div", {}, h("dt", {}, name),
      h("dd", { class: value === null ? "quiet" : null }, value ?? "not shown")))));
}

async function copyCurl({ id }) {
  const text = await api.curl(id);
  try {
    await navigator.clipboard.writeText(text);
    say("Copied. Set ANTHROPIC_API_KEY in the shell that runs it.");
  } catch { // no permission, or no secure origin
    byId("text").value = text;
    byId("text-dialog").showModal();
    byId("text").select();
  }
}

async function saveCase({ id }, of) {
  saveFile(await api.testCase(id, of), `${of}-${id}.json`);
  say("Saved as a test case.");
}

async function attempt(action) {
  try {
    await action();
  } catch (error) {
    say(error.message, true);
  }
}
