// The proxy's side: requests with the viewer's key, and the live list. Addresses are relative to the page.

const KEY = "cc-boost.key";
const SILENCE = 25_000; // milliseconds; the server says something every ten seconds
const TRIES = 30; // to reach the worker process that keeps an exchange
const TRIES_ANYWHERE = 6; // where nobody knows which one that is

/** An answer that is not the wanted one; `message` is for the viewer. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const setKey = (key) => sessionStorage.setItem(KEY, key);

let holder = () => ""; // the worker that has an exchange in its memory, as far as it is known

export const setHolder = (tell) => { holder = tell; };

const one = (id, part = "", more = "") => `exchanges/${encodeURIComponent(id)}${part}?worker=${holder(id)}${more}`;

export const hasKey = () => sessionStorage.getItem(KEY) !== null;

/** Like fetch, with the key. Throws Refused. */
export async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key ? { authorization: `Bearer ${key}` } : {}) };
  for (let tried = 1; ; tried++) {
    const response = await fetch(`api/${path}`, { ...options, headers, cache: "no-store" });
    if (response.ok || options.anyStatus) return response;
    if (response.status === 421 && tried < TRIES) continue; // another worker; the next connection may reach it
    if (response.status === 404 && path.includes("?worker=&") && tried < TRIES_ANYWHERE) continue;
    throw new Refused(response.status, await problem(response));
  }
}

async function problem(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error.message;
  } catch {
    return text || `HTTP ${response.status}`;
  }
}

/** The list as it is now. */
export const everything = async (worker) => (await ask(`exchanges?worker=${worker}`)).json();

export const exchange = async (id) => (await ask(one(id, "", "&"))).json();

export async function curl(id) {
  const base = new URL("..", location.href).href;
  return (await ask(one(id, "/curl", `&base=${encodeURIComponent(base)}`))).text();
}

export const testCase = async (id, of) => (await ask(one(id, "/case", `&of=${of}`))).blob();

/** Lines of the history in which all these words are, newest first, older than the exchange `before`. */
export const history = async (words, before) => (
  await ask(`history?words=${encodeURIComponent(words)}&before=${before ?? ""}`)).json();

export const usage = async (days) => (await ask(`usage?days=${days}`)).json();

/** All exchanges of a session that this worker keeps, as a file. */
export const session = async (id, worker) => (await ask(`session?id=${encodeURIComponent(id)}&worker=${worker}`)).blob();

/** Send the request of an exchange again; returns when its answer is complete. */
export async function replay(id) {
  const options = { method: "POST", body: "{}", headers: { "content-type": "application/json" }, anyStatus: true };
  const response = await ask(one(id, "/replay"), options);
  await response.text();
  return response.status;
}

/**
 * Follow the list for ever. `on.everything` and `on.changes` get the events' data, `on.state` "live" or "lost".
 * Returns when the server refuses, by throwing Refused.
 */
export async function follow(on) {
  let worker = "";
  for (let wait = 500; ; wait = Math.min(wait * 2, 5000)) {
    try {
      await once(`events?worker=${worker}`, (type, data) => {
        wait = 250;
        if (type === "everything") worker = data.worker;
        on.state("live");
        on[type]?.(data);
      });
    } catch (error) {
      if (error instanceof Refused && error.status !== 421 && error.status < 500) throw error;
      on.state("lost");
      worker = ""; // it may be gone
    }
    await new Promise((resolve) => { setTimeout(resolve, wait); });
  }
}

/** One connection of the live list, until its end. Throws when it breaks or falls silent. */
async function once(path, take) {
  const control = new AbortController();
  let watch = setTimeout(() => control.abort(), SILENCE);
  try {
    const response = await ask(path, { signal: control.signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let buffer = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(watch);
      watch = setTimeout(() => control.abort(), SILENCE);
      const events = (buffer + value).split("\n\n");
      buffer = events.pop();
      for (const event of events) {
        const [, type, data] = /^event: (\w+)\ndata: (.*)$/s.exec(event) ?? [];
        if (type) take(type, JSON.parse(data));
      }
    }
  } finally {
    clearTimeout(watch);
  }
}
