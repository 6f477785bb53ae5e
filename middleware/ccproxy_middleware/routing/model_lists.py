"""``GET /v1/models``: the models of all upstreams in one list."""

import logging
from collections.abc import Mapping
from typing import Any

import anyio
from starlette.types import ASGIApp, Receive, Scope, Send

from ..conversion.anthropic import model_info, models_page
from ..conversion.providers import Profile
from ..toolkit.answers import WholeAnswer, ask_inside
from ..toolkit.asgi import BufferedBody, get_header, route_path, with_path, without_headers
from ..toolkit.errors import ApiError, StreamAborted, request_id, send_error
from ..toolkit.json import dumps, loads
from .failover import DEFAULT, chosen_by_client

logger = logging.getLogger("ccproxy_middleware.routing")

_LIMIT = 2.5  # seconds for all lists; Claude Code waits for three
_MAX_LISTED = 1000  # models of one upstream at most
_MILLION = 1_000_000
_PATH = "/v1/models"
_CLIENT = "claude-code/"


class ModelLists:
    """Queries every upstream for its models, all concurrently.

    Those of the default upstream are listed under their own ids, those of the others as ``claude/NAME:model``, since
    Claude Code lists only ids that contain ``claude``. Claude Code gets these with ``[1m]`` where a model has a context
    window of a million tokens.
    """

    def __init__(self, targets: Mapping[str, ASGIApp]) -> None:
        self._targets = targets

    def answers(self, scope: Scope) -> bool:
        """Whether a request concerns models beyond those of the default upstream."""
        path = route_path(scope)
        if len(self._targets) < 2 or scope["method"] != "GET" or scope.get("ccproxy.lists_models"):
            return False
        return path == _PATH or self._named(path) is not None

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a page of the list, or the entry of one id."""
        path = route_path(scope)
        listener = BufferedBody(receive, b"")
        if path == _PATH:
            await self._list(scope, listener, send)
        else:
            await self._entry(scope, listener, send, path.removeprefix(f"{_PATH}/"))

    async def window(self, scope: Scope, body: BufferedBody, name: str, model: str) -> int | None:
        """The context window of an upstream's model in tokens, as the upstream reports it; None if it does not.

        ``scope``, ``body``: of the request on whose behalf the upstream is queried.
        """
        headers = without_headers(scope["headers"], b"content-length", b"content-type", b"transfer-encoding")
        get = {**scope, "method": "GET", "query_string": b"", "headers": headers, "ccproxy.record": None}
        answer = None
        with anyio.move_on_after(_LIMIT):
            answer = await self._ask_entry(get, body, name, model)
        entry = None if answer is None or answer.status != 200 else _json(answer)
        if not isinstance(entry, dict):
            return None
        size = entry.get("max_input_tokens") or model_info(model, model, Profile(), entry)["max_input_tokens"]
        return size if type(size) is int and size > 0 else None

    async def _ask_entry(self, scope: Scope, listener: BufferedBody, name: str, model: str) -> WholeAnswer | None:
        inner = {**with_path(scope, f"{_PATH}/{model}"), "ccproxy.models": ()}
        return await _ask(self._targets[name], inner, listener, name)

    def _named(self, path: str) -> tuple[str, str] | None:
        """The named upstream and the model of an id."""
        chosen = chosen_by_client(path.removeprefix(f"{_PATH}/"), self._targets) if path.startswith(_PATH) else None
        return None if chosen is None or chosen.upstream == DEFAULT else chosen

    async def _list(self, scope: Scope, listener: BufferedBody, send: Send) -> None:
        own: list[WholeAnswer] = []
        found: dict[str, list[dict[str, Any]]] = {}
        inner = {**scope, "query_string": f"limit={_MAX_LISTED}".encode()}

        async def ask_default() -> None:
            answer = await _ask(self._targets[DEFAULT], inner, listener, DEFAULT)
            if answer is not None:
                own.append(answer)

        async def ask_other(name: str) -> None:
            asked = {**inner, "ccproxy.models": (), "ccproxy.lists_upstream": True}
            answer = await _ask(self._targets[name], asked, listener, name)
            found[name] = [] if answer is None else _entries(answer)

        with anyio.move_on_after(_LIMIT) as limit:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask_default)
                for name in self._targets.keys() - {DEFAULT}:
                    tasks.start_soon(ask_other, name)
        if listener.disconnected:
            return
        if limit.cancelled_caught:
            late = ", ".join(sorted(self._targets.keys() - found.keys() - ({DEFAULT} if own else set())))
            logger.warning("the models of %s are not listed: no answer in time", late)
        for_claude_code = (get_header(scope["headers"], b"user-agent") or "").startswith(_CLIENT)
        others = [_renamed(entry, name, for_claude_code) for name in self._targets for entry in found.get(name, ())]
        if not others and own and not _entries(own[0]):
            return await _send(send, own[0])  # most likely an error
        entries = [_completed(entry) for entry in (_entries(own[0]) if own else [])] + others
        try:
            if own and _is_openai(own[0]):
                page: Any = {"object": "list", "data": entries}
            else:
                page = models_page(entries, scope["query_string"])
        except ApiError as error:
            return await send_error(scope, send, error)
        await _send_json(scope, send, page)

    async def _entry(self, scope: Scope, listener: BufferedBody, send: Send, id_: str) -> None:
        named = self._named(f"{_PATH}/{id_}")
        assert named is not None  # noqa: S101
        name, model = named
        answer = await self._ask_entry(scope, listener, name, model)
        if listener.disconnected:
            return
        if answer is None:
            error = ApiError(502, "api_error", f"the upstream {name} did not tell of its model")
            return await send_error(scope, send, error)
        entry = _json(answer)
        if not 200 <= answer.status < 300 or not isinstance(entry, dict):
            return await _send(send, answer)
        await _send_json(scope, send, {**entry, "id": id_})


async def _ask(app: ASGIApp, scope: Scope, listener: BufferedBody, name: str) -> WholeAnswer | None:
    """The answer of one upstream; None if it gives none."""
    body = listener.replace(None)
    body.skip()
    try:
        return await ask_inside(app, scope, body)
    except (ApiError, StreamAborted) as error:
        logger.warning("the models of %s are not listed: %s", name, error)
    except Exception:
        logger.exception("a bug: the upstream %s has raised (%s)", name, request_id(scope))
    return None


def _json(answer: WholeAnswer) -> Any:
    try:
        return loads(answer.body)
    except ValueError:
        return None


def _entries(answer: WholeAnswer) -> list[dict[str, Any]]:
    """The models in a list in Anthropic's or OpenAI's format; none for anything else."""
    listed = _json(answer) if 200 <= answer.status < 300 else None
    data = listed.get("data") if isinstance(listed, dict) else None
    if not isinstance(data, list):
        return []
    return [entry for entry in data[:_MAX_LISTED] if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


def _is_openai(answer: WholeAnswer) -> bool:
    listed = _json(answer)
    return isinstance(listed, dict) and listed.get("object") == "list"


def _completed(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry with the fields that a page of Anthropic's list requires."""
    return {"type": "model", "display_name": entry["id"], **entry, "lifecycle": entry.get("lifecycle") or "active"}


def _renamed(entry: dict[str, Any], name: str, for_claude_code: bool) -> dict[str, Any]:
    """Another upstream's entry, under the id with which a client requests it."""
    model = entry["id"]
    window = entry.get("max_input_tokens")
    renamed = {**_completed(entry), "id": f"claude/{name}:{model}", "display_name": f"{name}:{model}"}
    if not for_claude_code:
        return renamed
    if isinstance(window, int) and window >= _MILLION and not model.endswith("[1m]"):
        renamed["id"] += "[1m]"
    return {**renamed, "description": f"{model}, of {name}"}


async def _send(send: Send, answer: WholeAnswer) -> None:
    start: dict[str, Any] = {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
    if answer.error is not None:
        start["ccproxy.error"] = answer.error
    await send(start)
    await send({"type": "http.response.body", "body": answer.body})


async def _send_json(scope: Scope, send: Send, answer: Any) -> None:
    body = dumps(answer)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"request-id", request_id(scope).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
