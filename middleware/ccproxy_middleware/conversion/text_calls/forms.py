"""The formats in which models write tool calls into their text, as data.

Each is the format that the model was trained to write, and that a server with the right parser would have read.
Sources: the chat templates of the models, and the parsers of vLLM (docs.vllm.ai, ``vllm.tool_parsers``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FormSet = Literal["tags", "all"]
"""``tags``: the forms between tags of a tool or a function; ``all``: every one, and JSON as the whole answer."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter with its own marks; its value is text.

    name_ends: what follows its name, each with whether the value is JSON.
    newlines: whether the value is between two newlines.
    """

    opening: str
    name_ends: Mapping[str, bool]
    closing: str
    newlines: bool = False


@dataclass(frozen=True, slots=True)
class NamedForm:
    """The tool's name after a mark, followed by the arguments: parameters, or else a JSON object.

    name_ends: what may be between the name and the arguments.
    id_opening: what may also be there, followed by an id.
    """

    name_ends: tuple[str, ...]
    closing: str = ""
    parameter: Parameter | None = None
    id_opening: str = ""


@dataclass(frozen=True, slots=True)
class JsonForm:
    """An object with ``name`` and ``arguments`` (or ``parameters``), or a list of them.

    separator: what may be between several.
    named: the alternative format of a call that is not JSON.
    """

    closing: str = ""
    separator: str = ""
    named: NamedForm | None = None


BARE = JsonForm(separator=";")
"""JSON that is all there is of an answer."""

_ROUND = "\uff5c"  # the vertical bar of DeepSeek's marks
_LOW = "\u2581"  # and its underscore


def _dsml(bar: str) -> tuple[str, NamedForm]:
    prefix = f"{bar}DSML{bar}"
    ends = {'" string="true">': False, '" string="false">': True, '">': False}
    parameter = Parameter(f'<{prefix}parameter name="', ends, f"</{prefix}parameter>")
    return f'<{prefix}invoke name="', NamedForm(('">',), f"</{prefix}invoke>", parameter)


_DEEPSEEK = f"<{_ROUND}tool{_LOW}call{_LOW}begin{_ROUND}>"
_DEEPSEEK_SEPARATOR = f"<{_ROUND}tool{_LOW}sep{_ROUND}>"
_DEEPSEEK_END = f"<{_ROUND}tool{_LOW}call{_LOW}end{_ROUND}>"

TAGS: Mapping[str, NamedForm | JsonForm] = {
    "<tool_call>": JsonForm("</tool_call>"),  # Qwen, Hermes; Qwen3-Coder puts <function= inside
    "<function=": NamedForm(  # Qwen3-Coder; Llama with an object
        (">",), "</function>", Parameter("<parameter=", {">": False}, "</parameter>", newlines=True)
    ),
    '<invoke name="': NamedForm(  # Claude's older form, MiniMax
        ('">',), "</invoke>", Parameter('<parameter name="', {'">': False}, "</parameter>")
    ),
    **dict(_dsml(bar) for bar in (_ROUND, "|")),  # DeepSeek since V3.2
}
"""What opens a call, with its form."""

ALL: Mapping[str, NamedForm | JsonForm] = {
    **TAGS,
    "[TOOL_CALLS]": JsonForm(named=NamedForm(("[ARGS]", ""), id_opening="[CALL_ID]")),  # Mistral, in both spellings
    "<|python_tag|>": JsonForm(separator=";"),  # Llama
    _DEEPSEEK: NamedForm((_DEEPSEEK_SEPARATOR,), _DEEPSEEK_END),  # V3.1
    f"{_DEEPSEEK}function{_DEEPSEEK_SEPARATOR}": NamedForm(("\n```json",), f"```{_DEEPSEEK_END}"),  # V3, R1
}

_WRAPPERS = (
    *("tool_calls", "function_calls", "minimax:tool_call"),
    *(f"{bar}DSML{bar}{name}" for bar in (_ROUND, "|") for name in ("tool_calls", "function_calls")),
)
_DEEPSEEK_CALLS = f"<{_ROUND}tool{_LOW}calls{_LOW}{{}}{_ROUND}>"

BEFORE = frozenset({*(f"<{name}>" for name in _WRAPPERS), _DEEPSEEK_CALLS.format("begin")})
"""What may stand before calls, and means nothing."""

BEHIND = frozenset({
    "</tool_call>", *(f"</{name}>" for name in _WRAPPERS), _DEEPSEEK_CALLS.format("end"),
    "<|eom_id|>", "<|eot_id|>", "<|im_end|>", f"<{_ROUND}end{_LOW}of{_LOW}sentence{_ROUND}>", "</s>",
})  # fmt: skip
"""What may stand behind a call."""
