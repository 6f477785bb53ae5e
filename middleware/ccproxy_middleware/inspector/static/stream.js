// Two streams side by side: each event of the provider beside those that the client got of it.

import { count, duration, h } from "./dom.js";
import { tree } from "./json.js";

const AT_FIRST = 400; // events
const AT_ONCE = 20; // events of one read; more than these come in rows of their own

/** The provider's events and the client's, in pairs by time. */
export function timeline(given, got) {
  const pairs = align(given, got);
  const place = h("ol", { class: "timeline" });
  let shown = 0;
  const more = h("button", { type: "button", class: "more" });
  const show = (events) => {
    for (; shown < pairs.length && events > 0; shown++) {
      place.append(row(pairs[shown]));
      events -= pairs[shown].flat().length;
    }
    more.textContent = `Show the other ${count(pairs.length - shown)} rows`;
    more.hidden = shown === pairs.length;
  };
  more.addEventListener("click", () => show(Infinity));
  show(AT_FIRST);
  return [place, more];
}

/** Rows of [provider's events, client's events]: what came in one read, and what went out until the next. */
export function align(given, got) {
  const rows = [];
  let next = 0;
  const before = (limit) => {
    const start = next;
    while (next < got.length && got[next].at < limit) next++;
    return got.slice(start, next);
  };
  const early = before(given[0]?.at ?? Infinity);
  if (early.length) rows.push([[], early]);
  for (let i = 0; i < given.length;) {
    const chunk = [given[i]];
    for (i++; i < given.length && given[i].at === chunk[0].at; i++) chunk.push(given[i]);
    rows.push(...cut(chunk, before(given[i]?.at ?? Infinity)));
  }
  return rows;
}

/** One row, or several where a read had many events. */
function cut(given, got) {
  const rows = [];
  for (let i = 0; i < Math.max(given.length, got.length); i += AT_ONCE) {
    rows.push([given.slice(i, i + AT_ONCE), got.slice(i, i + AT_ONCE)]);
  }
  return rows;
}

function row([given, got]) {
  return h("li", {}, h("ul", { "aria-label": "From the provider" }, given.map(event)),
    h("ul", { "aria-label": "To the client" }, got.map(event)));
}

function event({ at, json, text }) {
  const [kind, preview] = json === undefined ? [text, ""] : describe(json);
  const place = h("details", {}, h("summary", {},
    h("span", { class: "at" }, `+${duration(at)}`), h("span", { class: "kind" }, kind),
    h("span", { class: "preview" }, preview)));
  place.addEventListener("toggle", () => {
    if (place.open && place.children.length === 1) place.append(json === undefined ? h("pre", {}, text) : tree(json));
  });
  return h("li", { class: json?.type === "error" || json?.error ? "bad" : null }, place);
}

/** An event in a word, and what it carries. */
export function describe(data) {
  if (data.type) return [data.type, ofAnthropic(data)];
  if (data.error) return ["error", data.error.message ?? ""];
  const choice = data.choices?.[0];
  const delta = choice?.delta ?? choice?.message ?? {};
  const called = (delta.tool_calls ?? []).map(({ function: f = {} }) => `${f.name ?? ""}${f.arguments ?? ""}`).join(" ");
  const parts = [delta.reasoning_content ?? delta.reasoning, delta.content, called].filter((x) => typeof x === "string");
  if (choice?.finish_reason) parts.push(choice.finish_reason);
  const kind = choice?.finish_reason ? "finish" : (called ? "tool_calls" : data.usage && !choice ? "usage" : "delta");
  const usage = data.usage ? ` ${count(data.usage.prompt_tokens)} in, ${count(data.usage.completion_tokens)} out` : "";
  return [kind, parts.join("") + usage];
}

function ofAnthropic(data) {
  const { delta = {}, content_block: block, usage, error } = data;
  if (error) return error.message ?? "";
  if (block) return [block.type, block.name].filter(Boolean).join(" ");
  const text = delta.text ?? delta.thinking ?? delta.partial_json ?? delta.stop_reason ?? "";
  return usage ? `${text}  ${count(usage.input_tokens)} in, ${count(usage.output_tokens)} out` : text;
}
