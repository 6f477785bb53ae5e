"""Tool names and ids within the provider's limits. The functions are pure: both directions agree without any state."""

import re
import secrets
from hashlib import sha256
from typing import Any

from ..context import Context
from ..providers import Profile
from ..schemas import DIALECTS

_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")
_LEGAL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")  # for all of them
_LEGAL_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_LEGAL_CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MISTRAL_ID = re.compile(r"[A-Za-z0-9]{9}")
_KIMI_ID = re.compile(r"functions\.[^:]{1,1000}:(\d{1,6})")
_KIMI_CLIENT_ID = re.compile(r"functions_(\d{1,6})_[0-9a-f]{16}")


def upstream_tool_name(name: str, profile: Profile) -> str:
    """A tool's name as the provider accepts it; the end of a name that is too long or invalid is replaced by a hash.

    OpenAI allows 64 characters out of ``A-Za-z0-9_-``; Claude Code's MCP names exceed that in practice. Some providers
    also require a letter first.
    """
    if len(name) <= profile.tool_name_max and _LEGAL_NAME.fullmatch(name):
        return name
    legal = _ILLEGAL.sub("", name)
    dialect = DIALECTS.get(profile.schema_dialect)
    if dialect is not None and not dialect.tool_name.fullmatch(legal):
        legal = dialect.name_prefix + legal
    if legal == name and len(name) <= profile.tool_name_max:
        return name
    return f"{legal[: profile.tool_name_max - 9]}_{sha256(name.encode()).hexdigest()[:8]}"


def upstream_tool_id(id_: str, name: str, profile: Profile) -> str:
    """A call's id as the provider accepts it: 40 characters at OpenAI (64 in Responses), nine alphanumerics at Mistral.

    Kimi gets its own format back, ``functions.NAME:0``, which is not a valid id for clients. ``name`` is the tool's.
    """
    if profile.tool_id == "any":
        return id_
    if profile.tool_id == "kimi" and (found := _KIMI_CLIENT_ID.fullmatch(id_)):
        return f"functions.{upstream_tool_name(name, profile)}:{found[1]}"
    mistral = profile.tool_id == "mistral9"
    openai = _LEGAL_CALL_ID if profile.api == "responses" else _LEGAL_ID
    if (_MISTRAL_ID if mistral else openai).fullmatch(id_):
        return id_
    digest = sha256(id_.encode()).hexdigest()
    return digest[:9] if mistral else f"call_{digest[:32]}"


def client_tool_id(upstream_id: str) -> str:
    """An id for the client if the provider's contains characters that Anthropic's ids can't, or is already used."""
    found = _KIMI_ID.fullmatch(upstream_id)
    return f"functions_{found[1]}_{secrets.token_hex(8)}" if found else "toolu_" + secrets.token_hex(12)


class ToolIds:
    """The ids of one answer's calls. Claude Code drops turns that repeat an id of the conversation."""

    __slots__ = ("_history", "_taken")

    def __init__(self, context: Context) -> None:
        self._history = context.used_tool_ids
        self._taken: set[str] = set()

    def claim(self, upstream_id: Any) -> str:
        """The provider's id if it is valid and new in the conversation, else a generated one."""
        id_ = upstream_id if isinstance(upstream_id, str) else ""
        if not _LEGAL_CALL_ID.fullmatch(id_) or id_ in self._taken or id_ in self._history:
            id_ = client_tool_id(id_)
        self._taken.add(id_)
        return id_


def client_tool_name(name: str, context: Context) -> str:
    """The client's name of a tool: restores a shortened name and corrects the case of a name such as ``bash``."""
    if name in context.tool_names:
        return context.tool_names[name]
    if name not in context.tools:
        alike = [tool for tool in context.tools if tool.lower() == name.lower()]
        if len(alike) == 1:
            return alike[0]
    return name
