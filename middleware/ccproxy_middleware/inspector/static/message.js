// An answer as one message, and a request as turns: of Messages, Chat Completions and Responses, whole or streamed.
//
// A turn is { role, blocks }, an answer { blocks, stop, error, whole, status }. A block has a `kind`: "text" and
// "thinking" with `text`; "call" with `name`, `id` and `input` (parsed, or text where it is no JSON); "result" with
// `id`, `blocks` and `isError`; "other" with `name` and `json`. `partial`: its end has not come.

/** The message that an answer holds, as far as it has come. `answer` is a half of a call, with json, events or text. */
export function assemble({ status, json, events, text }) {
  const made = events ? ofEvents(events) : ofDocument(json, text);
  return { stop: null, error: null, ...made, status };
}

function ofDocument(json, text) {
  if (json === undefined) return { blocks: text ? [{ kind: "text", text }] : [], whole: text !== undefined };
  if (json?.error) return { blocks: [], error: errorOf(json.error), whole: true };
  if (Array.isArray(json?.choices)) return ofChoices(json);
  if (Array.isArray(json?.output)) return ofResponse(json);
  if (Array.isArray(json?.content)) return { blocks: blocksOf(json.content), stop: json.stop_reason, whole: true };
  return { blocks: [{ kind: "other", name: "answer", json }], whole: true };
}

const errorOf = (error) => (typeof error === "string" ? { type: "error", message: error }
  : { type: error.type ?? error.code ?? "error", message: error.message ?? "" });

function ofChoices({ choices }) {
  const [choice = {}] = choices;
  return { blocks: turnOfChat(choice.message ?? {}).blocks, stop: choice.finish_reason, whole: true };
}

function ofResponse(response) {
  const { output, status, incomplete_details: why, error } = response;
  return {
    blocks: output.flatMap(blocksOfItem), stop: why?.reason ?? status, error: error ? errorOf(error) : null,
    whole: status !== "in_progress",
  };
}

function ofEvents(events) {
  const documents = events.map(({ json }) => json).filter((json) => json && typeof json === "object");
  const first = documents.find(({ type }) => type !== "ping");
  const made = first?.choices ? streamedChat(documents) : String(first?.type).startsWith("response.")
    ? streamedResponse(documents) : streamedMessage(documents);
  const failed = documents.find((json) => json.type === "error" || (json.error && !json.choices));
  if (failed) made.error = errorOf(failed.error ?? failed);
  return made;
}

/** Anthropic's events. */
function streamedMessage(events) {
  const blocks = new Map();
  let stop = null;
  let whole = false;
  for (const { type, index, content_block: begun, delta = {} } of events) {
    if (type === "content_block_start") blocks.set(index, { ...begun, partial: true, json: "" });
    const block = blocks.get(index);
    if (type === "content_block_delta" && block) {
      if (delta.text !== undefined) block.text = (block.text ?? "") + delta.text;
      if (delta.thinking !== undefined) block.thinking = (block.thinking ?? "") + delta.thinking;
      if (delta.partial_json !== undefined) block.json += delta.partial_json;
    } else if (type === "content_block_stop" && block) block.partial = false;
    else if (type === "message_delta") stop = delta.stop_reason ?? stop;
    else if (type === "message_stop") whole = true;
  }
  const made = [...blocks.values()].map(({ json, ...block }) => ofBlock(json ? { ...block, input: parsed(json) } : block));
  return { blocks: made, stop, whole };
}

/** The chunks of a chat completion, of its first choice. */
function streamedChat(chunks) {
  const blocks = [];
  const calls = new Map();
  let stop = null;
  const add = (kind, text) => {
    if (typeof text !== "string" || !text) return;
    if (blocks.at(-1)?.kind === kind) blocks.at(-1).text += text;
    else blocks.push({ kind, text });
  };
  for (const { choices } of chunks) {
    const choice = choices?.find(({ index }) => !index);
    if (!choice) continue;
    const delta = choice.delta ?? choice.message ?? {};
    add("thinking", delta.reasoning_content ?? delta.reasoning);
    add("text", delta.content);
    add("text", delta.refusal);
    for (const { index = 0, id, function: f = {} } of delta.tool_calls ?? []) {
      if (!calls.has(index)) {
        calls.set(index, { kind: "call", name: "", id: null, input: "" });
        blocks.push(calls.get(index));
      }
      const call = calls.get(index);
      call.id = id || call.id;
      call.name += f.name ?? "";
      call.input += f.arguments ?? "";
    }
    stop = choice.finish_reason ?? stop;
  }
  for (const call of calls.values()) call.input = parsed(call.input);
  if (stop === null && blocks.length) blocks.at(-1).partial = true;
  return { blocks, stop, whole: stop !== null };
}

/** The events of a response. An item that is done tells all of itself. */
function streamedResponse(events) {
  const items = new Map();
  let end = null;
  for (const event of events) {
    const { type = "", output_index: at, item, response } = event;
    if (item) items.set(at, { item, texts: new Map(), done: type.endsWith(".done") });
    else if (type.endsWith(".delta") && items.has(at)) {
      const { texts } = items.get(at);
      const key = `${type}/${event.content_index ?? event.summary_index ?? ""}`;
      texts.set(key, (texts.get(key) ?? "") + event.delta);
    } else if (/^response\.(completed|incomplete|failed)$/.test(type)) end = response;
  }
  const blocks = [...items.keys()].sort((a, b) => a - b).flatMap((at) => {
    const { item, texts, done } = items.get(at);
    return done ? blocksOfItem(item) : begunItem(item, [...texts]);
  });
  const stop = end && (end.incomplete_details?.reason ?? end.status);
  return { blocks, stop, whole: end !== null, error: end?.error ? errorOf(end.error) : null };
}

function begunItem(item, texts) {
  if (item.type === "function_call") {
    return [{ ...blocksOfItem(item)[0], input: parsed(texts.map(([, text]) => text).join("")), partial: true }];
  }
  return texts.map(([key, text]) => ({ kind: /reasoning/.test(key) ? "thinking" : "text", text, partial: true }));
}

/** An item of a response's output or input. */
function blocksOfItem(item) {
  const { type, name, call_id: id, output, content, summary } = item;
  switch (type) {
    case "message": return contentOf(content);
    case "reasoning": return [...contentOf(summary), ...contentOf(content)].map((block) => ({ ...block, kind: "thinking" }));
    case "function_call": return [{ kind: "call", name, id, input: parsed(item.arguments ?? "") }];
    case "function_call_output": return [{ kind: "result", id, blocks: contentOf(output) }];
    default: return [{ kind: "other", name: type ?? "item", json: item }];
  }
}

/** A string, or a list of parts in whichever API's form, as blocks. */
function contentOf(content) {
  if (typeof content === "string") return content ? [{ kind: "text", text: content }] : [];
  return Array.isArray(content) ? blocksOf(content) : [];
}

const blocksOf = (parts) => parts.map((part) => (part && typeof part === "object" ? ofBlock(part)
  : { kind: "text", text: String(part) }));

/** A content block of Anthropic's, or a part of OpenAI's. */
function ofBlock(block) {
  const { type, partial = false, name, id, input, text } = block;
  if (type === "thinking") return { kind: "thinking", text: block.thinking ?? "", partial };
  if (type === "redacted_thinking") return { kind: "thinking", text: "(encrypted by the provider)", partial };
  if (type === "tool_use" || type === "server_tool_use") return { kind: "call", name, id, input, partial };
  if (type === "tool_result") {
    return { kind: "result", id: block.tool_use_id, blocks: contentOf(block.content), isError: block.is_error === true };
  }
  const said = text ?? block.refusal;
  if (typeof said === "string") return { kind: "text", text: said, partial };
  return { kind: "other", name: type ?? "part", json: block, partial };
}

/** A message of a chat: its content, and the calls beside it. */
function turnOfChat(message) {
  const { role = "assistant", content, refusal, tool_calls: calls = [], tool_call_id: id } = message;
  const thoughts = contentOf(message.reasoning_content ?? message.reasoning).map((block) => ({ ...block, kind: "thinking" }));
  const own = [...thoughts, ...contentOf(content), ...contentOf(refusal)];
  const made = (calls ?? []).map(({ id: of, function: f = {} }) => (
    { kind: "call", name: f.name, id: of, input: parsed(f.arguments ?? "") }));
  return role === "tool" ? { role, blocks: [{ kind: "result", id, blocks: own }] } : { role, blocks: [...own, ...made] };
}

/** The turns of a request's conversation, its system prompt as the first. */
export function turnsOf(request) {
  if (!request || typeof request !== "object") return [];
  const { system, instructions, messages, input } = request;
  const first = contentOf(system ?? instructions);
  const turns = first.length ? [{ role: "system", blocks: first }] : [];
  if (typeof input === "string") return [...turns, { role: "user", blocks: contentOf(input) }];
  for (const turn of (Array.isArray(messages) ? messages : Array.isArray(input) ? input : [])) {
    if (!turn || typeof turn !== "object") continue;
    turns.push(turn.type ? { role: turn.role ?? roleOfItem(turn), blocks: blocksOfItem(turn) } : turnOfChat({ role: "user", ...turn }));
  }
  return turns;
}

const roleOfItem = ({ type }) => (type === "function_call_output" ? "tool" : "assistant");

/** The names of the tools by the ids of their calls. */
export function callNames(turns) {
  return new Map(turns.flatMap(({ blocks }) => blocks).filter(({ kind }) => kind === "call").map(({ id, name }) => [id, name]));
}

/** The arguments of a call: JSON as what it says, anything else as the text that it is. */
function parsed(text) {
  if (typeof text !== "string") return text;
  if (!text.trim()) return {};
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
