// Exchanges that are kept on disk: earlier ones than those in memory, by the words of the filter.

import * as api from "./api.js";
import { byId, say } from "./dom.js";
import * as list from "./list.js";

let asked = ""; // the words by which the shown ones were found
let waiting = 0;

export function start() {
  byId("earlier-button").addEventListener("click", more);
  byId("filter").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(words, 200);
  });
  words();
}

/** Whether there is a history at all. */
export const show = (isThere) => { byId("earlier").hidden = !isThere; };

const wanted = () => byId("filter").value.trim();

/** Other words: what was found by the old ones goes. */
function words() {
  if (wanted() !== asked && list.hasKept()) list.clearKept();
  asked = wanted();
  byId("earlier-button").textContent = asked ? `Search all that is kept for “${asked.slice(0, 40)}”` : "Show earlier exchanges";
  byId("earlier-button").disabled = false;
  byId("earlier-told").textContent = "";
}

async function more() {
  const button = byId("earlier-button");
  button.disabled = true;
  try {
    const before = asked && !list.hasKept() ? null : list.oldest();
    const found = await api.history(asked, before);
    list.addKept(found.exchanges);
    button.disabled = !found.more;
    if (found.more) button.textContent = "Show more";
    else byId("earlier-told").textContent = "That is all that is kept.";
  } catch (error) {
    button.disabled = false;
    say(error.message, true);
  }
}
