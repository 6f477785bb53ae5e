// One exchange: its facts, both sides of its translation, and what can be done with it.

import * as api from "./api.js";
import { badge, byId, count, duration, h, rate, say, tierName, timeOfDay } from "./dom.js";
import { Contents, fold, nextDifference, tree } from "./json.js";
import { timeline } from "./stream.js";

let compares = true;
let chosen = null; // the name of the request to a provider that is shown
let made = { of: null, section: null }; // the requests, which stay as they are while the answer grows

/**
 * Show an exchange in `place`. `go` leads to another one, or with null back to the list; `replay` sends the request
 * of this one again.
 */
export function render(place, exchange, { go, replay }) {
  const side = exchange.providers.find(({ name }) => name === chosen) ?? exchange.providers.at(-1);
  const again = () => render(place, exchange, { go, replay });
  place.replaceChildren(
    ...head(exchange, go, replay), facts(exchange, go),
    ...(exchange.attempts.length ? [attempts(exchange)] : []),
    ...(exchange.decisions.length ? [decisions(exchange.decisions)] : []),
    ...(exchange.providers.length > 1 ? [tabs(exchange.providers, side, again)] : []),
    requestsOf(exchange, side, again), answers(exchange.client, side),
  );
}

function head(exchange, go, replay) {
  const button = (text, act, title) => h("button", { type: "button", title, onclick: () => attempt(() => act(exchange)) }, text);
  return [
    h("nav", { class: "row", "aria-label": "Exchanges" },
      h("button", { type: "button", class: "link", onclick: () => go(null) }, "← All exchanges"),
      h("span", { class: "grow" }),
      h("button", { type: "button", onclick: () => go(exchange.id, 1), "aria-label": "Older exchange" }, "Older ↓"),
      h("button", { type: "button", onclick: () => go(exchange.id, -1), "aria-label": "Newer exchange" }, "Newer ↑")),
    h("div", { class: "row title" },
      h("h2", {}, exchange.client_model ?? exchange.path, exchange.model && h("span", { class: "arrow" }, " → "),
        exchange.model), badge(exchange), h("span", { class: "grow" }),
      button("Copy as curl", copyCurl, "The client's request as a command line"),
      button("Replay", replay, "Send the client's request again"),
      button("Save request case", (x) => save(x, "request"), "Both requests as a test case"),
      button("Save answer case", (x) => save(x, "answer"), "Both answers as a test case")),
    exchange.error_message && h("p", { class: "problem" }, `${exchange.error}: ${exchange.error_message}`),
  ].filter(Boolean);
}

function facts(x, go) {
  const original = x.replay_of && h("button", { type: "button", class: "link", onclick: () => go(x.replay_of) }, x.replay_of);
  const known = [
    ["Time", timeOfDay(x.time)], ["First byte", duration(x.first_byte)], ["Duration", duration(x.duration)],
    ["Tokens in", count(x.input_tokens)], ["Cached", count(x.cached_tokens)], ["Tokens out", count(x.output_tokens)],
    ["Tokens/s", x.tokens_per_second && rate(x.tokens_per_second)], ["Stop reason", x.stop_reason],
    ["Tier", x.tier && tierName(x.tier)], ["Profile", x.provider],
    ["Images", x.vision],
    ["Web searches", x.web_searches],
    ["Boost", x.boost_outcome && `${x.boost_outcome}, ${x.boost_loops} loop${x.boost_loops === 1 ? "" : "s"}`],
    ["Retries", x.retries || null], ["Replay of", original], ["Exchange", x.id], ["Request id", x.request_id],
    ["Provider's id", x.upstream_request_id], ["Session", x.session_id],
    ["Asked by", x.request_class && [x.request_class, x.agent_type].filter(Boolean).join(", ")], ["Agent", x.agent_id],
    ["Parent agent", x.parent_agent_id], ["Prompt", x.prompt_id], ["Compaction", x.compaction],
    ["Tools before it, ms", x.tool_durations],
  ].filter(([, value]) => value);
  return h("dl", { class: "facts card" }, known.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** The candidates, each in a row: which was asked, when, and why it was passed over. */
function attempts(x) {
  const column = (name) => h("th", { scope: "col" }, name);
  const row = (a) => h("tr", {},
    h("td", {}, `${a.upstream}:${a.model}`), h("td", { class: "number" }, a.key + 1), h("td", { class: "number" }, duration(a.at)),
    h("td", { class: "number" }, a.waited ? duration(a.waited) : ""),
    h("td", { class: "number" }, a.asked && a.ended !== null ? duration(a.ended - a.at) : ""),
    h("td", {}, a.reason ? `${a.asked ? "" : "not asked: "}${a.reason.replaceAll("_", " ")}` : String(a.status ?? "")),
    h("td", { class: "number" }, a.cooled ? duration(a.cooled) : ""));
  return h("details", { class: "card section", open: true },
    h("summary", {}, h("h3", {}, `Route: rule ${x.rule}, upstream ${x.upstream} (${x.attempts.length})`)),
    h("table", { class: "attempts" },
      h("thead", {}, h("tr", {}, ["Candidate", "Key", "At", "Waited", "Took", "Result", "Left alone for"].map(column))),
      h("tbody", {}, x.attempts.map(row))));
}

function decisions(lines) {
  return h("details", { class: "card section", open: true },
    h("summary", {}, h("h3", {}, `What the conversion decided (${lines.length})`)),
    h("ul", {}, lines.map((line) => h("li", {}, line))));
}

/** The choice between several requests to providers. */
function tabs(calls, side, again) {
  const choose = (call) => {
    chosen = call.name;
    again();
    byId("detail").querySelector('[aria-selected="true"]').focus();
  };
  const move = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    choose(calls[(calls.indexOf(side) + step + calls.length) % calls.length]);
  };
  return h("div", { class: "tabs", role: "tablist", "aria-label": "Requests to providers", onkeydown: move },
    calls.map((call) => h("button", {
      type: "button", role: "tab", "aria-selected": String(call === side), tabindex: call === side ? "0" : "-1",
      onclick: () => choose(call),
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

async function save({ id }, of) {
  const url = URL.createObjectURL(await api.testCase(id, of));
  h("a", { href: url, download: `${of}-${id}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
  say("Saved as a test case.");
}

async function attempt(action) {
  try {
    await action();
  } catch (error) {
    say(error.message, true);
  }
}
