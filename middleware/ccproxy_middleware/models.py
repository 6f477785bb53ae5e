"""Mapping of Claude's model names to the provider's models."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .auth import Admission
from .toolkit.asgi import (
    Headers,
    get_header,
    route_path,
    without_headers,
)
from .toolkit.errors import header_value, read_request
from .toolkit.json import dumps, members, with_members
from .toolkit.record import get_record
from .toolkit.safety_checks import is_safety_check

# Claude's own names: as Anthropic, the cloud platforms and the gateways write them, or the client's short names.
_CLAUDE = re.compile(
    r"(?:arn:aws[\w-]*:bedrock:[^/]*/)?"
    r"(?:(?:anthropic|aws|azure|azure_ai|bedrock|converse|google|invoke|openrouter|vertex|vertex_ai|vertex_ai_beta"
    r"|apac|au|ca|eu|global|jp|me|sa|us|us-gov)[./])*"
    r"(?:claude|anthropic)(?![a-z])"
    r"|(?:best|haiku|opus|opusplan|sonnet)$",
    re.IGNORECASE,
)

# A tier followed by the provider's model, as in claude-opus/qwen3-coder. Claude Code does not recognize such a name
# as one of Anthropic's, so it accepts the reported context size and shows it.
_TIER_AND_MODEL = re.compile(r"claude-(opus|fable|sonnet|haiku)/", re.IGNORECASE)

PROVIDERS_OWN = "claude-provider/"
"""What stands before a name of the provider's own in Claude Code, which lists only those that contain ``claude``."""

DEFAULT_UPSTREAM = "default"
"""The name of the upstream that answers for models that are named without one."""

_LONGEST_KEPT = 200  # characters of a name whose tier is cached

_LISTED = "claude/"  # prefix of NAME:model for Claude Code, which lists only names that contain ``claude``

TIERS = ("BIG_MODEL", "MIDDLE_MODEL", "SMALL_MODEL")

ANSWER_PATHS = ("/messages", "/chat/completions", "/responses")
"""How the paths end by which a model is asked for an answer."""

COUNT_PATHS = ("/messages/count_tokens", "/responses/input_tokens", "/tokenize", "/apply-template")
"""How the paths end by which only tokens are counted."""


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that clients may ask for, the provider's model for it, and that model's context size if it is set."""

    id: str
    model: str
    context: int | None = None


class ModelMappingMiddleware:
    """Map the ``model`` of a request by tier: ``haiku`` -> small, ``sonnet`` -> middle, any other Claude -> big.

    A name that is not Claude's goes through unchanged, apart from the prefix ``claude-provider/``, which is removed. A
    trailing ``[1m]`` is ignored. The answer carries the name that the client sent, and the provider's model in
    ``x-upstream-model``.

    big, middle, small: each is a model, or several, as a sequence or one comma-separated text. The first is used; an
        inner RoutingMiddleware falls back to the others if it fails.
    classifier: the same for the requests in which Claude Code's auto mode asks whether an action is safe, whatever name
        they ask for. Without it they are mapped like any other request.
    upstreams: the names of the upstreams other than ``default``. A client that asks for ``NAME:model``, or
        ``claude/NAME:model``, with one of these names or ``default`` gets that model, whatever its name looks like.

    Reads: ``ccproxy.model`` in the scope, by which one of our layers may ask for a model by the provider's own name;
    ``model`` in the JSON body of ``/v1/messages``, ``/v1/messages/count_tokens``, ``/chat/completions``, ``/responses``
    and of the paths at which providers count tokens, so it may stand on either side of FormatConversionMiddleware. A
    body that it can't read passes unchanged.
    Writes: ``model``; ``ccproxy.candidates`` in the scope, the models that may answer, each ``NAME:model`` or
    ``model``, the first of which is ``model``; ``ccproxy.model``, with the name that the client ``requested`` and its
    ``tier``; ``ccproxy.models``, the aliases that FormatConversionMiddleware lists at ``GET /v1/models``.
    Needs: nothing.
    Alone: works in front of an OpenAI or an Anthropic app, and restores the client's name in its answers. Where a
    FormatConversionMiddleware stands on either side, that one does so.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        big: str | Sequence[str],
        middle: str | Sequence[str] | None = None,
        small: str | Sequence[str],
        classifier: str | Sequence[str] | None = None,
        contexts: Mapping[str, int | None] = {},
        upstreams: Collection[str] = (),
    ) -> None:
        """``contexts``: the context size in tokens of each tier's model, by ``BIG_MODEL`` and so on, for the list of
        models.

        Raises ValueError for a list without a model, and for an upstream's name that is not made of letters and digits.
        """
        self.app = app
        self._upstreams = frozenset(map(check_upstream_name, upstreams))
        self._classifier = self._listed(classifier) if classifier is not None else None
        self._models = {
            "BIG_MODEL": self._listed(big),
            "MIDDLE_MODEL": self._listed(middle or big),
            "SMALL_MODEL": self._listed(small),
        }
        self._aliases = tuple(
            Alias(id_, self._models[tier][0], contexts.get(tier))
            for id_, tier in (
                ("claude-opus", "BIG_MODEL"),
                ("claude-sonnet", "MIDDLE_MODEL"),
                ("claude-haiku", "SMALL_MODEL"),
            )
        )
        self._admission = Admission(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if await self._admission.refuses(scope, send):
            return
        if scope["method"] != "POST" or not route_path(scope).endswith(ANSWER_PATHS + COUNT_PATHS):
            return await self._list(scope, receive, send)
        request = await read_request(scope, receive, send)
        if request is None:
            return
        scope, body = request
        data = await body.json_object()
        name = None if data is None else data.get("model")
        outer = scope.get("ccproxy.model")
        if not isinstance(name, str) or (outer and outer.get("fixed")):
            return await self.app(scope, body, send)

        candidates, tier = self._choose(name)
        if self._classifier is not None and is_safety_check(data, scope):
            candidates = self._classifier
        model = candidates[0]
        del data  # the body releases it when it is replayed
        if (record := get_record(scope)) is not None:
            record.model, record.tier = model, tier
            record.requested_model = record.requested_model or name
        inner_scope = {
            **scope,
            "ccproxy.model": {"requested": outer["requested"] if outer else name, "tier": tier},
            "ccproxy.candidates": candidates,
            "ccproxy.models": self._aliases,
        }
        dropped: tuple[bytes, ...] = ()
        if model != name:
            body = body.with_fields({"model": model})
            dropped = (b"content-length", b"transfer-encoding")
        if outer is None:  # the name is restored in the answer, which must not be compressed
            dropped += (b"accept-encoding",)
        headers = without_headers(scope["headers"], *dropped)
        inner_scope["headers"] = headers if outer is not None else [*headers, (b"accept-encoding", b"identity")]
        restore = _NameRestorer(send, name, model, rewrite=outer is None)
        await self.app(inner_scope, body, restore.send)

    def _choose(self, name: str) -> tuple[tuple[str, ...], str | None]:
        """The models that may answer a request for this name, and its tier."""
        asked = name[len(_LISTED) :] if name.lower().startswith(_LISTED) else name
        upstream, model = split_upstream(asked, self._upstreams)
        if upstream is not None:
            return (canonical_model(f"{upstream}:{without_million(model)}", self._upstreams),), None
        tier = tier_of(name)
        return (self._models[tier] if tier else (upstream_name(name),)), tier

    def _listed(self, models: str | Sequence[str]) -> tuple[str, ...]:
        found = tuple(canonical_model(model, self._upstreams) for model in split_models(models))
        if not found:
            raise ValueError("a tier needs a model")
        return found

    async def _list(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the aliases to inner layers, or list them where an outer converter asks for the models."""
        asked_by_converter = scope["method"] == "GET" and scope.get("ccproxy.lists_models")
        if not (asked_by_converter and route_path(scope) == "/v1/models"):
            return await self.app({**scope, "ccproxy.models": self._aliases}, receive, send)
        data = [
            {
                "id": alias.id,
                "object": "model",
                "created": 0,
                "owned_by": "cc-boost",
                "display_name": alias.model,
                **({"context_length": alias.context} if alias.context else {}),
            }
            for alias in self._aliases
        ]
        body = dumps({"object": "list", "data": data})
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def tier_of(name: str) -> str | None:
    """The tier that a client's model name belongs to, or None for a name that is not Claude's.

    Other vendors' models may have ``opus``, ``sonnet`` or ``haiku`` in their names.
    """
    return _tier_of(name) if len(name) <= _LONGEST_KEPT else _tier_of.__wrapped__(name)


@lru_cache(maxsize=64)
def _tier_of(name: str) -> str | None:
    name = name.lower().removesuffix("[1m]")
    if _CLAUDE.match(name) is None or name.startswith(PROVIDERS_OWN):
        return None
    if own := _TIER_AND_MODEL.match(name):
        name = own[1]
    if "haiku" in name:
        return "SMALL_MODEL"
    return "MIDDLE_MODEL" if "sonnet" in name else "BIG_MODEL"


def split_models(models: str | Sequence[str]) -> tuple[str, ...]:
    """The models of a list: a sequence, or a text in which commas separate them."""
    parts = models.split(",") if isinstance(models, str) else models
    return tuple(part.strip() for part in parts if part.strip())


def split_upstream(model: str, upstreams: Collection[str]) -> tuple[str | None, str]:
    """The upstream's name, in lower case, and the model, from ``NAME:model``.

    None and the whole text where NAME is neither ``default`` nor one of ``upstreams`` (in lower case), as in
    ``llama3.1:70b``.
    """
    name, colon, own = model.partition(":")
    name = name.strip().lower()
    if colon and own.strip() and (name == DEFAULT_UPSTREAM or name in upstreams):
        return name, own.strip()
    return None, model


def canonical_model(model: str, upstreams: Collection[str]) -> str:
    """``NAME:model`` with the name in lower case. The default upstream's models have no prefix, where that is
    unambiguous.
    """
    upstream, own = split_upstream(model, upstreams)
    if upstream is None or (upstream == DEFAULT_UPSTREAM and split_upstream(own, upstreams)[0] is None):
        return own
    return f"{upstream}:{own}"


def check_upstream_name(name: str) -> str:
    """The name of an upstream in lower case. Raises ValueError unless it is letters and digits, and not ``default``."""
    if not (name.isascii() and name.isalnum()):
        raise ValueError(f"{name!r} is no upstream's name: letters and digits")
    if name.lower() == DEFAULT_UPSTREAM:
        raise ValueError(f"{name!r} is the name of the default upstream")
    return name.lower()


def without_million(model: str) -> str:
    """A model's name without ``[1m]``, with which Claude Code requests a context window of a million tokens."""
    return model[:-4] if model.lower().endswith("[1m]") else model


def upstream_name(name: str) -> str:
    """The provider's name of a model requested by that name, with or without the prefix ``claude-provider/``."""
    return name[len(PROVIDERS_OWN) :].removesuffix("[1m]") if name.lower().startswith(PROVIDERS_OWN) else name


class _NameRestorer:
    """Restore the client's name of the model in one answer.

    An inner FormatConversionMiddleware has already done so, which ``x-upstream-model`` shows; an outer one (``rewrite``
    is off) will do so. Otherwise the answer is in Anthropic's or OpenAI's own format, as JSON or a stream.
    """

    def __init__(self, send: Send, requested: str, upstream: str, *, rewrite: bool) -> None:
        self._send = send
        self._requested = requested
        self._upstream = upstream
        self._rewrite = rewrite
        self._stream = False
        self._start: Message | None = None  # held until a JSON body is complete
        self._buffer = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._on_start(message)
        elif message["type"] != "http.response.body" or not self._rewrite:
            await self._send(message)
        elif self._stream:
            await self._on_stream(message)
        else:
            await self._on_json(message)

    async def _on_start(self, message: Message) -> None:
        headers: Headers = list(message.get("headers", ()))
        if get_header(headers, b"x-upstream-model") is not None or message["status"] >= 300:
            self._rewrite = False
            return await self._send({**message, "headers": headers})
        headers += header_value(b"x-upstream-model", self._upstream)
        kind = get_header(headers, b"content-type") or ""
        encoded = (get_header(headers, b"content-encoding") or "identity") != "identity"
        self._stream = kind.startswith("text/event-stream")
        self._rewrite &= not encoded and (self._stream or kind.startswith("application/json"))
        if self._rewrite:
            headers = without_headers(headers, b"content-length", b"etag", b"content-md5")
        message = {**message, "headers": headers}
        if self._rewrite and not self._stream:
            self._start = message
        else:
            await self._send(message)

    async def _on_stream(self, message: Message) -> None:
        body = message.get("body", b"")
        more = message.get("more_body", False)
        if more and b"\n" not in body:
            self._buffer += body
            return await self._send({**message, "body": b""})
        whole, newline, rest = (bytes(self._buffer) + body).rpartition(b"\n")
        self._buffer = bytearray(rest if more else b"")
        lines = whole + newline if more else whole + newline + rest
        rewritten = b"\n".join(self._line(line) for line in lines.split(b"\n"))
        await self._send({**message, "body": rewritten})

    def _line(self, line: bytes) -> bytes:
        if not line.startswith(b"data:") or b'"model"' not in line:
            return line
        try:
            return b"data: " + self._renamed(line[5:].lstrip())
        except ValueError:
            return line

    async def _on_json(self, message: Message) -> None:
        self._buffer += message.get("body", b"")
        if message.get("more_body", False):
            return
        try:
            body = self._renamed(bytes(self._buffer))
        except ValueError:
            body = bytes(self._buffer)
        assert self._start is not None  # noqa: S101
        headers = [*self._start["headers"], (b"content-length", str(len(body)).encode())]
        await self._send({**self._start, "headers": headers})
        await self._send({**message, "body": body})

    def _renamed(self, text: bytes) -> bytes:
        """The object with its ``model`` replaced, or with that of an event's ``message`` or ``response`` replaced."""
        found = {member.name: text[member.value : member.end] for member in members(text)}
        for holder in ("message", "response"):
            if (inner := found.get(holder, b"")).startswith(b"{"):
                return with_members(text, {holder: self._with_name(inner)})
        return self._with_name(text)

    def _with_name(self, text: bytes) -> bytes:
        named = any(member.name == "model" for member in members(text))
        return with_members(text, {"model": dumps(self._requested)}) if named else text
