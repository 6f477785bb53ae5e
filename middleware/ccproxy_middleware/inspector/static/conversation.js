// The Message tab: what was asked last, and the answer in one piece.

import { count, duration, h, tokens } from "./dom.js";
import { tree } from "./json.js";
import { assemble, callNames, turnsOf } from "./message.js";

const LONG_RESULT = 1500; // characters of a tool's result; a longer one is folded
const ADDED = /^\s*<(system-reminder|local-command-|command-|bash-)/; // what the client adds to the user's words

let side = "client"; // or "provider": whose answer is shown

/** The tab of an exchange. `call` is the request to a provider that is chosen, if there is one. */
export function conversation(exchange, call, again) {
  const turns = turnsOf(exchange.client.request.json);
  const names = callNames(turns);
  const from = Math.max(0, turns.findLastIndex(({ role }) => role === "assistant") + 1);
  const last = turns.slice(from).filter(({ role }) => role !== "system");
  const before = turns.slice(0, from).concat(turns.slice(from).filter(({ role }) => role === "system"));
  const answered = [answer(exchange, call, again)];
  if (exchange.path.endsWith("count_tokens")) answered.length = 0;
  return h("div", { class: "talk" }, earlier(before, names, exchange.client.request.json), last.map((turn) => shown(turn, names)),
    !last.length && exchange.client.request.text !== undefined && h("pre", {}, exchange.client.request.text), answered);
}

/** The turns before, made when somebody looks. */
function earlier(turns, names, request) {
  const talk = turns.filter(({ role }) => role !== "system").length;
  const parts = [
    turns.length > talk && "the system prompt", talk && `${count(talk)} earlier message${talk === 1 ? "" : "s"}`,
    request?.tools?.length && `${count(request.tools.length)} tools`,
  ].filter(Boolean);
  if (!parts.length) return null;
  const place = h("details", { class: "earlier" }, h("summary", {}, capital(parts.join(", "))));
  place.addEventListener("toggle", () => {
    if (place.open && place.children.length === 1) {
      place.append(h("div", { class: "talk" }, turns.map((turn) => shown(turn, names)),
        request?.tools?.length && folded(h("summary", {}, `${count(request.tools.length)} tools`), () => [tree(request.tools)])));
    }
  });
  return place;
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

function shown({ role, blocks }, names) {
  const results = blocks.length && blocks.every(({ kind }) => kind === "result");
  return h("section", { class: `turn ${role}` }, h("h3", {}, results ? "Tool results" : capital(role)),
    blocks.map((block) => of(block, names, role === "system")));
}

/** The answer: as the client got it, or as the provider said it. */
function answer(exchange, call, again) {
  const isProvider = side === "provider" && call !== undefined;
  const half = isProvider ? call : exchange.client;
  const made = assemble(half.answer);
  const choose = (name, text) => h("button", {
    type: "button", "aria-pressed": String((name === "provider") === isProvider), onclick: () => { side = name; again(); },
  }, text);
  return h("section", { class: "turn assistant answer", "aria-label": "Answer" },
    h("div", { class: "row" }, h("h3", {}, "Answer"), h("span", { class: "quiet" }, told(exchange, half, made)),
      h("span", { class: "grow" }),
      call && h("div", { class: "switch", role: "group", "aria-label": "Whose answer" },
        choose("client", "as the client got it"), choose("provider", `as the ${call.name} gave it`))),
    made.blocks.map((block) => of(block, new Map(), false)),
    made.error && h("p", { class: "failure" }, h("b", {}, made.error.type), ` ${made.error.message}`),
    !made.blocks.length && !made.error && h("p", { class: "quiet" }, nothingCame(exchange, half, made)),
    partly(exchange, half, made));
}

function told(exchange, half, { stop }) {
  const known = half === exchange.client ? [
    exchange.output_tokens !== null && `${tokens(exchange.output_tokens)} tokens`,
    exchange.duration !== null && duration(exchange.duration)] : [];
  return [stop && String(stop), ...known].filter(Boolean).join(" · ");
}

const nothingCame = (exchange, half, { whole }) => (exchange.state === "running" ? "Nothing has come yet."
  : whole && half.answer.status !== null ? "The answer is empty." : "There was no answer.");

/** Why this is not all. */
function partly(exchange, half, { whole, blocks }) {
  const why = half.cut ? "Not all of it was kept: the exchange was too large."
    : whole || half.answer.status === null || (half.answer.status ?? 0) >= 400 ? null
    : exchange.state === "running" ? "Still arriving."
    : exchange.state === "left" ? "Partial: the client left before the end."
    : exchange.state === "failed" ? "Partial: the stream was broken off."
    : blocks.length ? "Partial: the stream ended without its last event." : null;
  return why && h("p", { class: exchange.state === "running" && !half.cut ? "partial running" : "partial", role: "note" }, why);
}

/** A block of a turn. The client's own additions to the user's words are folded, and so is the system prompt. */
function of(block, names, isSystem) {
  switch (block.kind) {
    case "text": return isSystem || ADDED.test(block.text)
      ? folded(h("summary", {}, firstLine(block.text)), () => [words(block)]) : words(block);
    case "thinking": return h("details", { class: "thinking", open: true }, h("summary", {}, "Thinking"), words(block));
    case "call": return called(block);
    case "result": return result(block, names);
    default: return folded(h("summary", {}, block.name), () => [tree(block.json)]);
  }
}

const words = ({ text, partial }) => h("div", { class: partial ? "words unfinished" : "words" }, text);

const firstLine = (text) => text.trim().slice(0, 120).split("\n")[0];

function folded(summary, contents, open = false) {
  const place = h("details", { class: "folded", open }, summary);
  const make = () => { if (place.open && place.children.length === 1) place.append(...contents()); };
  place.addEventListener("toggle", make);
  make();
  return place;
}

/** A tool call, whole: each argument by its name, texts as they are. */
function called({ name, id, input, partial }) {
  const isObject = input && typeof input === "object" && !Array.isArray(input);
  const given = (value) => {
    const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
    return text.includes("\n") ? h("pre", {}, text) : h("code", {}, text);
  };
  return h("div", { class: "call" },
    h("div", { class: "row" }, h("b", {}, name ?? "?"), h("span", { class: "tag" }, "tool call"),
      partial && h("span", { class: "tag warn" }, "partial"),
      !isObject && !partial && h("span", { class: "tag warn" }, "arguments are not a JSON object"),
      h("span", { class: "grow" }), h("span", { class: "quiet id" }, id)),
    isObject ? h("dl", {}, Object.entries(input).map(([key, value]) => [h("dt", {}, key), h("dd", {}, given(value))]))
      : input ? given(input) : null);
}

function result({ id, blocks, isError }, names) {
  const text = blocks.map((block) => block.text ?? `[${block.name ?? block.kind}]`).join("\n");
  const name = names.get(id) ?? id ?? "tool";
  const summary = h("summary", {}, h("b", {}, name), h("span", { class: isError ? "tag warn" : "tag" }, isError ? "failed" : "result"),
    h("span", { class: "quiet" }, ` ${count(text.length)} characters`));
  const inside = () => blocks.map((block) => (block.kind === "text" ? h("pre", {}, block.text) : of(block, names, false)));
  return folded(summary, inside, text.length <= LONG_RESULT);
}
