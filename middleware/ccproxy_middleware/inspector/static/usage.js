// What was used over days: cost and tokens by day, by model, by agent and by key, and how far the budgets are used.

import * as api from "./api.js";
import { byId, count, dollars, h, say, tokens } from "./dom.js";

const CHOICES = [7, 14, 30, 90];
const KINDS = [["input", "uncached input", "chart-1"], ["cached", "cached input", "chart-3"], ["output", "output", "chart-2"]];

let days = 14;

export function start() {
  byId("days").addEventListener("toggle", () => byId("days").open && look());
}

/** Whether there is something written down over days. */
export function show(isThere) {
  byId("days").hidden = !isThere;
  if (isThere && byId("days").open) look();
}

async function look() {
  try {
    render(await api.usage(days));
  } catch (error) {
    say(error.message, true);
  }
}

function render(data) {
  const all = everyDay(data);
  const pick = h("select", { "aria-label": "Days" },
    CHOICES.map((n) => h("option", { value: n, selected: n === days }, `the last ${n} days`)));
  pick.addEventListener("change", () => { days = Number(pick.value); look(); });
  const unpriced = all.reduce((sum, day) => sum + day.unpriced, 0);
  byId("usage").replaceChildren(
    h("p", { class: "row" }, pick, unpriced > 0 && h("span", { class: "quiet" },
      `The cost of ${count(unpriced)} request${unpriced === 1 ? "" : "s"} is not known and not in the sums: PRICES_FILE can name prices.`)),
    h("div", { class: "by-day" },
      chart("Cost", "US dollars per day", all, [["cost", "cost", "chart-1"]], (cost) => costOf({ cost, unpriced })),
      chart("Tokens", "per day", all, KINDS, tokens)),
    data.budgets.length > 0 && budgets(data.budgets) || "",
    h("div", { class: "groups" }, table("By model", data.models), table("By agent", data.agents), table("By key", data.keys)));
}

/** The days from the first to the last, also those on which nothing was. */
function everyDay({ days: known, since, until }) {
  const found = new Map(known.map((day) => [day.name, day]));
  const all = [];
  for (let at = Date.parse(since); at <= Date.parse(until); at += 86_400_000) {
    const name = new Date(at).toISOString().slice(0, 10);
    all.push({ requests: 0, cost: 0, input: 0, cached: 0, cache_write: 0, output: 0, unpriced: 0, ...found.get(name), name });
  }
  return all.map((day) => ({ ...day, input: day.input + day.cache_write }));
}

/** Bars, one for each day, made of what `parts` name. */
function chart(title, unit, all, parts, shown) {
  const total = (day) => parts.reduce((sum, [name]) => sum + day[name], 0);
  const most = Math.max(...all.map(total));
  const sum = all.reduce((sum_, day) => sum_ + total(day), 0);
  const bar = (day) => h("div", { class: "column", title: told(day, parts, shown) },
    parts.map(([name, , colour]) => part(day[name], most, colour)));
  const step = Math.ceil(all.length / 5);
  return h("figure", { class: "card" },
    h("figcaption", {}, h("span", {}, h("b", {}, title), h("span", { class: "quiet" }, ` ${unit}`)),
      h("span", { class: "quiet" }, `${shown(sum)} in all`)),
    h("div", { class: "plot", role: "img", "aria-label": `${title} ${unit}: ${shown(sum)} in all` },
      h("div", { class: "scale quiet" }, h("span", {}, shown(most)), h("span", {}, shown(0))),
      h("div", { class: "columns" }, all.map(bar)),
      h("div", { class: "dates quiet" }, all.map((day, i) => h("span", {}, (all.length - 1 - i) % step ? "" : dayName(day.name))))),
    parts.length > 1 && h("ul", { class: "legend" }, parts.map(([, name, colour]) => h("li", { class: colour }, name))));
}

function part(value, most, colour) {
  const place = h("div", { class: `of ${colour}` });
  place.style.height = `${most ? (100 * value) / most : 0}%`;
  return place;
}

const dayName = (iso) => new Date(`${iso}T12:00:00`).toLocaleDateString([], { day: "numeric", month: "short" });

const told = (day, parts, shown) => `${dayName(day.name)}: ${count(day.requests)} requests, `
  + parts.map(([name, label]) => `${shown(day[name])} ${label}`).join(", ");

/** Each cap of money as a bar. */
function budgets(all) {
  const row = ({ key, period, spent, cap, reset }) => {
    const used = cap > 0 ? Math.min(1, spent / cap) : 1;
    const fill = h("div", { class: used >= 1 ? "used over" : used > 0.8 ? "used near" : "used" });
    fill.style.width = `${100 * used}%`;
    return h("li", {},
      h("span", {}, h("b", {}, key), h("span", { class: "quiet" }, ` ${period}`)),
      h("div", { class: "budget", role: "meter", "aria-label": `${key}, ${period}`, "aria-valuemin": 0, "aria-valuemax": cap,
        "aria-valuenow": Math.min(spent, cap), "aria-valuetext": `${dollars(spent)} of ${dollars(cap)}` }, fill),
      h("span", { class: "number" }, `${dollars(spent)} of ${dollars(cap)}`,
        h("span", { class: "quiet" }, ` until ${new Date(reset * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}`)));
  };
  return h("section", { class: "card section", "aria-label": "Budgets" }, h("h3", {}, "Budgets"), h("ul", { class: "budgets" }, all.map(row)));
}

function table(title, groups) {
  const most = Math.max(...groups.map(({ cost }) => cost), 0);
  const column = (name, kind) => h("th", { scope: "col", class: kind }, name);
  const row = (group) => h("tr", {},
    h("td", {}, h("div", { class: "name" }, group.name ?? "not told"), share(most ? group.cost / most : 0)),
    h("td", { class: "number" }, count(group.requests)),
    h("td", { class: "number" }, tokens(group.input + group.cached + group.cache_write)),
    h("td", { class: "number" }, tokens(group.output)),
    h("td", { class: "number" }, costOf(group)));
  return h("section", { class: "card section scrolls", "aria-label": title },
    h("table", {}, h("thead", {}, h("tr", {}, column(title), ["Requests", "In", "Out", "Cost"].map((name) => column(name, "number")))),
      h("tbody", {}, groups.map(row))));
}

/** A cost, or a dash where all of it is unknown. */
const costOf = ({ cost, unpriced }) => (unpriced && !cost ? "–" : dollars(cost));

function share(part_) {
  const place = h("div", { class: "share" });
  place.style.width = `${100 * part_}%`;
  return place;
}
