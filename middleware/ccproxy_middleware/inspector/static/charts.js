// The last hour in three charts.

import { byId, count, duration, h, rate } from "./dom.js";

const HEIGHT = 104;
const FONT = "11px system-ui, sans-serif";
const HALF = 30; // seconds: a column stands in the middle of its minute

// `lines`: the name of a column, what the legend calls it, its colour, and how it is drawn.
const CHARTS = [
  {
    title: "Requests", unit: "per minute",
    lines: [["requests", "all", "--chart-1", "bars"], ["errors", "failed", "--bad", "bars"]],
    now: (m) => `${count(sum(m.requests))} in the last hour, ${count(sum(m.errors))} failed`,
    at: (m, i) => `${count(m.requests[i])} requests, ${count(m.errors[i])} failed`,
    tick: short,
  },
  {
    title: "Output", unit: "tokens per second",
    lines: [["tokens_per_second", "mean of the minute", "--chart-2", "line"]],
    now: (m) => (last(m.tokens_per_second) === null ? "none yet" : `${rate(last(m.tokens_per_second))} lately`),
    at: (m, i) => `${rate(m.tokens_per_second[i])} tokens per second`,
    tick: short,
  },
  {
    title: "Time to first byte", unit: "",
    lines: [["first_byte_slow", "19 of 20 within", "--chart-3", "line"], ["first_byte", "median", "--chart-1", "line"]],
    now: (m) => (last(m.first_byte) === null ? "none yet" : `median ${duration(last(m.first_byte))} lately`),
    at: (m, i) => `median ${duration(m.first_byte[i])}, 19 of 20 within ${duration(m.first_byte_slow[i])}`,
    tick: (value) => (value >= 1000 ? `${value / 1000} s` : `${value} ms`),
  },
];

const STEPS = [1, 2, 5].flatMap((step) => [0, 1, 2, 3, 4, 5].map((power) => step * 10 ** power)).sort((a, b) => a - b);

const sum = (values) => values.reduce((total, value) => total + value, 0);
const last = (values) => values.findLast((value) => value !== null) ?? null;

let made = [];
let minutes = null;

export function start() {
  const again = () => minutes && draw(minutes);
  if (matchMedia("(max-width: 760px)").matches) byId("hour").open = false; // what is in them stands in a line there
  byId("hour").addEventListener("toggle", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { made = []; again(); });
  new ResizeObserver(() => {
    for (const { plot, place } of made) {
      if (place.clientWidth) plot.setSize({ width: place.clientWidth, height: HEIGHT });
    }
  }).observe(byId("charts"));
}

/** Draw the columns of the last hour. */
export function draw(columns) {
  minutes = columns;
  byId("hour-told").textContent = `: ${count(sum(columns.requests))} requests, ${count(sum(columns.errors))} failed`;
  if (!byId("charts").clientWidth) return; // hidden; drawn when it is shown
  if (!made.length) make();
  for (const { chart, plot, text, place } of made) {
    plot.setData([columns.minute, ...chart.lines.map(([name]) => columns[name])]);
    text.textContent = chart.now(columns);
    place.setAttribute("aria-label", `${chart.title} ${chart.unit}: ${chart.now(columns)}`);
  }
}

/** Draw what came while the charts were hidden. */
export const shown = () => minutes && draw(minutes);

function make() {
  byId("charts").replaceChildren();
  made = CHARTS.map((chart) => {
    const text = h("span", { class: "quiet now" });
    const place = h("div", { role: "img" });
    byId("charts").append(h("figure", { class: "card" },
      h("figcaption", {}, h("span", {}, h("b", {}, chart.title), h("span", { class: "quiet" }, ` ${chart.unit}`)), text),
      place, legend(chart)));
    return { chart, text, place, plot: null };
  });
  for (const one of made) one.plot = new uPlot(options(one), [[]], one.place);
}

function legend({ lines }) {
  return h("ul", { class: "legend" }, lines.map(([, name, colour]) => h("li", { class: colour.slice(2) }, name)));
}

function options({ chart, text, place }) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--quiet"), font: FONT, ticks: { show: false }, grid: { stroke: colour("--line"), width: 1 } };
  const setCursor = (plot) => {
    const { idx } = plot.cursor;
    const at = idx === null || idx === undefined ? null : `${shortTime(minutes.minute[idx])}: ${chart.at(minutes, idx)}`;
    text.textContent = at ?? chart.now(minutes);
  };
  const bars = uPlot.paths.bars({ size: [0.7, 8] });
  const series = chart.lines.map(([, , name, kind]) => (kind === "bars"
    ? { stroke: colour(name), fill: colour(name), width: 0, paths: bars, points: { show: false } }
    : { stroke: colour(name), width: 1.75, spanGaps: true, points: { show: true, size: 4, fill: colour(name) } }));
  return {
    width: place.clientWidth, height: HEIGHT, padding: [10, 22, 0, 0],
    legend: { show: false }, cursor: { y: false, drag: { x: false, y: false } }, hooks: { setCursor: [setCursor] },
    scales: {
      x: { range: (plot, low, high) => [low - HALF, high + HALF] },
      y: { range: (plot, low, high) => [0, Math.max(1, high ?? 1) * 1.1] },
    },
    axes: [
      { ...axis, grid: { show: false }, size: 22, space: 64, values: (plot, ticks) => ticks.map(shortTime) },
      { ...axis, size: (plot, labels) => widest(plot, labels), space: 28, incrs: STEPS,
        values: (plot, ticks) => ticks.map(chart.tick) },
    ],
    series: [{}, ...series],
  };
}

/** The room that the labels of an axis take, so that none is cut. */
function widest(plot, labels) {
  plot.ctx.save();
  plot.ctx.font = FONT;
  const widths = (labels ?? []).map((label) => plot.ctx.measureText(label).width);
  plot.ctx.restore();
  return Math.ceil(Math.max(24, ...widths)) + 12;
}

function short(value) {
  return value >= 1000 ? `${value / 1000}k` : Number.isInteger(value) ? String(value) : value.toFixed(1);
}

const shortTime = (seconds) => new Date(seconds * 1000).toTimeString().slice(0, 5);
