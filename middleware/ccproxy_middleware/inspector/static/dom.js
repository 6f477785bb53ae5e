// Elements and numbers. Whatever comes from outside gets into the page as text here, and nowhere else.

/** An element with properties (`class`, `on...`, attributes) and children; strings become text. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

const number = new Intl.NumberFormat("en");
const day = new Intl.DateTimeFormat([], { day: "numeric", month: "short" });
const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

/** A count, or a dash where nobody knows. */
export const count = (value) => (value === null || value === undefined ? "–" : number.format(value));

/** A count of tokens, short where it is long. */
export const tokens = (value) => (value === null || value === undefined ? "–" : value < 100_000 ? number.format(value)
  : value < 1_000_000 ? `${Math.round(value / 1000)}k` : `${(value / 1_000_000).toFixed(1)}M`);

/** All that the model has read of a request, out of the cache or not; null where nobody knows. */
export const tokensIn = ({ input_tokens: input, cached_tokens: cached, cache_write_tokens: written }) => (
  input === null && cached === null ? null : (input ?? 0) + (cached ?? 0) + (written ?? 0));

/** The part of it that came out of the provider's cache, in percent. */
export function cachedShare(exchange) {
  const all = tokensIn(exchange);
  return all && exchange.cached_tokens !== null ? `${Math.round((100 * exchange.cached_tokens) / all)} %` : "–";
}

/** An id that is long, by its beginning. */
export const shortId = (id) => (id && id.length > 12 ? `${id.slice(0, 8)}…` : id);

/** Tokens per second, as exactly as it makes sense. */
export const rate = (value) => count(value === null || value < 100 ? value : Math.round(value));

/** Milliseconds as a person reads them. */
export function duration(value) {
  if (value === null || value === undefined) return "–";
  if (value < 10) return `${value.toFixed(1)} ms`;
  if (value < 1000) return `${Math.round(value)} ms`;
  return value < 60_000 ? `${(value / 1000).toFixed(1)} s` : `${number.format(Math.round(value / 1000))} s`;
}

export function bytes(value) {
  if (value < 1024) return `${value} B`;
  return value < 1024 * 1024 ? `${Math.round(value / 1024)} KB` : `${(value / 1024 / 1024).toFixed(1)} MB`;
}

/** The time of day of seconds since the epoch, with the date if it is another one than today. */
export function timeOfDay(seconds) {
  const time = new Date(seconds * 1000);
  const date = time.toDateString() === new Date().toDateString() ? "" : `${day.format(time)} `;
  return date + clock.format(time);
}

/** US dollars, in cents unless that is too coarse; a dash where nobody knows. */
export function dollars(value) {
  if (value === null || value === undefined) return "–";
  return `$${value >= 1 || value === 0 ? value.toFixed(2) : Number(value.toPrecision(2)).toString()}`;
}

export const tierName = (tier) => ({ BIG_MODEL: "big", MIDDLE_MODEL: "middle", SMALL_MODEL: "small" })[tier] ?? "–";

/** Let the browser save a file. */
export function saveFile(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

const STATES = { running: "running", ok: "ok", failed: "failed", left: "client left" };

/** What became of an exchange, in a word and a colour. */
export function badge(exchange) {
  const failed = exchange.state === "failed" && exchange.status === 200;
  const text = [exchange.status ?? "", failed ? "broken off" : STATES[exchange.state]].join(" ").trim();
  return h("span", { class: `badge ${exchange.state}` }, text);
}

let timer = 0;

/** Say something in passing, also to a screen reader. */
export function say(text, isProblem = false) {
  const place = byId("message");
  place.textContent = text;
  place.classList.toggle("problem", isProblem);
  clearTimeout(timer);
  timer = setTimeout(() => { place.textContent = ""; }, isProblem ? 10_000 : 4000);
}
