// The exchanges by who has asked them: session, prompt, agent, exchange; each in the order of time.

import { badge, count, dollars, duration, h, shortId, timeOfDay, tokens, tokensIn } from "./dom.js";

const closed = new Set(); // the branches that the viewer has folded

/**
 * Show the tree of these exchanges, oldest first. `open` gets the id of the one that the viewer wants to see, `save` the
 * id of a session.
 */
export function render(place, exchanges, open, save) {
  const focused = document.activeElement?.dataset.key;
  place.replaceChildren(...grouped(exchanges, (x) => x.session_id).map(([session, asked]) =>
    branch(`Session ${short(session)}`, session ?? "", asked, grouped(asked, (x) => x.prompt_id).map(([prompt, ofPrompt]) =>
      branch(promptName(prompt, ofPrompt), `${session}/${prompt}`, ofPrompt, agents(ofPrompt, `${session}/${prompt}`, open))),
    session && h("button", { type: "button", class: "link", onclick: () => save(session) }, "Export"))));
  if (focused) place.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

/** The exchanges of the main agent, and below them the branches of the agents that it has called. */
function agents(exchanges, key, open) {
  const groups = new Map(grouped(exchanges, (x) => x.agent_id));
  const parent = (id) => groups.get(id)[0].parent_agent_id;
  const isTop = (id) => id !== null && (!groups.has(parent(id)) || parent(id) === null || parent(id) === id);
  const seen = new Set();
  const agent = (id) => {
    seen.add(id);
    const own = groups.get(id);
    const called = [...groups.keys()].filter((other) => other !== null && parent(other) === id && !seen.has(other));
    return branch(`${own[0].agent_type ?? "agent"} ${short(id)}`, `${key}/${id}`, own, [...own.map((x) => leaf(x, open)), ...called.map(agent)]);
  };
  const main = (groups.get(null) ?? []).map((x) => leaf(x, open));
  const top = [...groups.keys()].filter(isTop).map(agent);
  const rest = [...groups.keys()].filter((id) => id !== null && !seen.has(id)).map((id) => seen.has(id) || agent(id));
  return [...main, ...top, ...rest.filter((made) => made !== true)];
}

/** A prompt by what the user has said in it. */
function promptName(prompt, exchanges) {
  const said = exchanges.find((x) => x.said && !x.agent_id && x.request_class !== "auxiliary")?.said;
  return said ? [h("q", {}, said.slice(0, 80))] : `Prompt ${short(prompt)}`;
}

function branch(name, key, exchanges, children, ...tools) {
  const sum = (of) => exchanges.reduce((total, x) => total + (of(x) ?? 0), 0);
  const note = `${count(exchanges.length)} request${exchanges.length === 1 ? "" : "s"} · ${tokens(sum(tokensIn))} in · `
    + `${tokens(sum((x) => x.output_tokens))} out`
    + (exchanges.some((x) => typeof x.cost === "number") ? ` · ${dollars(sum((x) => x.cost))}` : "");
  const details = h("details", { open: !closed.has(key), class: "agent" },
    h("summary", { "data-key": key }, name, h("span", { class: "quiet" }, ` ${note} `), tools),
    h("ul", {}, children.map((child) => h("li", {}, child))));
  details.addEventListener("toggle", () => (details.open ? closed.delete(key) : closed.add(key)));
  return details;
}

function leaf(x, open) {
  return h("button", { type: "button", class: "link", "data-key": x.id, onclick: () => open(x.id) },
    h("time", {}, timeOfDay(x.time)), ` ${x.client_model ?? x.path} `, badge(x),
    h("span", { class: "quiet" }, ` ${duration(x.duration)} · ${tokens(tokensIn(x))} in · ${tokens(x.output_tokens)} out${typeof x.cost === "number" ? ` · ${dollars(x.cost)}` : ""}`),
    x.after && h("span", { class: "quiet" }, ` · after ${x.after}`),
    x.request_class && h("span", { class: "tag" }, x.request_class));
}

function grouped(exchanges, key) {
  const groups = new Map();
  for (const x of exchanges) {
    const of = key(x) ?? null;
    if (!groups.has(of)) groups.set(of, []);
    groups.get(of).push(x);
  }
  return [...groups];
}

const short = (id) => shortId(id) || "unknown";
