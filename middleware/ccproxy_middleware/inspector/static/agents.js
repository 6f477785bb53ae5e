// The exchanges by who has asked them: session, prompt, agent, exchange; each in the order of time.

import { badge, count, duration, h, timeOfDay } from "./dom.js";

const closed = new Set(); // the branches that the viewer has folded

/** Show the tree of these exchanges, oldest first. `open` gets the id of the one that the viewer wants to see. */
export function render(place, exchanges, open) {
  const focused = document.activeElement?.dataset.key;
  place.replaceChildren(...grouped(exchanges, (x) => x.session_id).map(([session, asked]) =>
    branch(`Session ${short(session)}`, session ?? "", asked, grouped(asked, (x) => x.prompt_id).map(([prompt, ofPrompt]) =>
      branch(`Prompt ${short(prompt)}`, `${session}/${prompt}`, ofPrompt, agents(ofPrompt, `${session}/${prompt}`, open))))));
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

function branch(name, key, exchanges, children) {
  const tokens = (field) => exchanges.reduce((sum, x) => sum + (x[field] ?? 0), 0);
  const note = `${exchanges.length} · ${count(tokens("input_tokens") + tokens("cached_tokens"))} in · ${count(tokens("output_tokens"))} out`;
  const details = h("details", { open: !closed.has(key), class: "agent" },
    h("summary", { "data-key": key }, name, h("span", { class: "quiet" }, ` ${note}`)),
    h("ul", {}, children.map((child) => h("li", {}, child))));
  details.addEventListener("toggle", () => (details.open ? closed.delete(key) : closed.add(key)));
  return details;
}

function leaf(x, open) {
  return h("button", { type: "button", class: "link", "data-key": x.id, onclick: () => open(x.id) },
    `${timeOfDay(x.time)} ${x.client_model ?? x.path} `, badge(x), ` ${duration(x.duration)}`,
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

const short = (id) => (id ? (id.length > 12 ? `${id.slice(0, 8)}…` : id) : "unknown");
