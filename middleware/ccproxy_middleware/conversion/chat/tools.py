"""The tools of a request as functions, and the choice among them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from orjson import JSONEncodeError

from ...toolkit.errors import ApiError, invalid_request
from ...toolkit.field_checks import expect, optional, required
from ...toolkit.json import dumps
from ...toolkit.json.size import parsed_size
from ...web_search import is_search_tool
from ..anthropic import Block, History, Turn, client_tool, may_need_repair, upstream_tool_name
from ..hosted_search import is_hosted
from ..providers import Profile
from ..schemas import DIALECTS, Allowance, fit_tool, is_strict

# Tools that Anthropic's servers run. Only the beginning of the type is fixed; a date follows.
_SERVER_TOOLS = (
    "web_search_", "web_fetch_", "code_execution_", "mcp_toolset", "computer_toolset_", "browser_toolset_",
)  # fmt: skip
_SEARCHES = "WEB_SEARCH=searxng and WEB_SEARCH_URL, or WEB_SEARCH to brave, tavily, exa, serper, ddgs or provider,"
_ADVISOR = "advisor_"
_TOOL_SEARCH = "tool_search_tool_"
_CUT = "... (the rest stands in the system prompt)"
_REST = "The rest of the description of the tool {}:"
_REMEMBERED = 8  # sets of tools: of agents and their subagents, for each model
_HELD = 32 * 1024 * 1024  # bytes that they may take, including the tools that they were made from


def offered_tools(
    tools: Sequence[Any], changes: Iterable[Block], turns: Iterable[Turn], profile: Profile
) -> list[Block]:
    """The client's tool definitions that are in effect for this request, still in Anthropic's format.

    Server tools are left out if there are others, which the model can use instead, and refused if there are none.
    Deferred tools are left out until a ``tool_reference`` names them, unless the server would have searched for them.
    ``tool_addition`` and ``tool_removal`` are applied.
    """
    known: dict[str, Block] = {}
    of_server: list[Block] = []
    deferred: set[str] = set()
    search = False
    for n, tool in enumerate(tools):
        if type(tool) is not dict:
            expect(tool, dict, f"tools.{n}")
        definition = Block(tool, "tools", n)
        kind = optional(tool, "type", str, definition) or "custom"
        if kind.startswith(_TOOL_SEARCH):
            search = True
            continue
        if _is_server_tool(kind, definition):
            if not is_hosted(tool, profile):
                of_server.append(definition)
            continue
        name = _tool_name(definition)
        if name in known:
            raise invalid_request("tools: Tool names must be unique.")
        known[name] = definition
        if tool.get("defer_loading") is True:
            deferred.add(name)
    if of_server and not known and profile.server_tools == "refuse":
        raise _server_tool_refused(of_server[0])
    offered = dict(known)
    hidden = deferred - _referenced(turns) if deferred and not search else set()
    for block in changes:
        _apply_change(block, known, offered, hidden, profile)
    return [tool for name, tool in offered.items() if name not in hidden and _callable_directly(tool.data)]


class ConvertedTools(NamedTuple):
    """The tools of a request in the upstream API's format, and their JSON; the client's names, as a set and by upstream
    name.

    ``schemas``: by the client's name, the client's schemas of the tools whose arguments may need repair. ``offered``:
    by the client's name and by the upstream name, the schemas of all tools. ``told``: the parts of descriptions that
    exceed the provider's limit.

    Shared between requests, and must not be modified.
    """

    tools: list[dict[str, Any]]
    json: bytes
    names: frozenset[str]
    by_upstream: Mapping[str, str]
    schemas: Mapping[str, Any]
    offered: Mapping[str, Any]
    told: tuple[str, ...]


_NO_TOOLS = ConvertedTools([], b"[]", frozenset(), {}, {}, {}, ())


class ToolConverter:
    """Converts the tools of requests, and caches the last few lists: an agent sends the same list at every turn.

    Two lists are the same if they are the same object, as they are in requests that a RequestParser parsed from the
    same bytes.
    """

    def __init__(self) -> None:
        # With the size of each, the most recently used first.
        self._cache: tuple[tuple[list[Any], Profile, ConvertedTools, int], ...] = ()

    def convert(self, tools: list[Any], history: History, profile: Profile) -> ConvertedTools:
        """The converted tools, shared by all requests with the same list. Raises a 400."""
        if not tools and not history.tool_changes:
            return _NO_TOOLS
        if history.tool_changes:
            return _converted(offered_tools(tools, history.tool_changes, history.turns, profile), profile)
        for entry in self._cache:
            if entry[0] is tools and entry[1] is profile:
                if entry is not self._cache[0]:
                    self._cache = (entry, *(other for other in self._cache if other is not entry))
                return entry[2]
        converted = _converted(offered_tools(tools, (), history.turns, profile), profile)
        if not any(tool.get("defer_loading") for tool in tools):  # these depend on the conversation
            self._remember(tools, profile, converted)
        return converted

    def _remember(self, tools: list[Any], profile: Profile, converted: ConvertedTools) -> None:
        try:
            size = parsed_size(dumps(tools)) + parsed_size(converted.json)
        except JSONEncodeError:  # what the conversion leaves out can be nested too deeply
            return
        added = (tools, profile, converted, size)
        left = _HELD
        kept = []
        for entry in (added, *self._cache[: _REMEMBERED - 1]):
            left -= entry[3]
            if left < 0:
                break
            kept.append(entry)
        self._cache = tuple(kept) or self._cache


def _converted(definitions: Sequence[Block], profile: Profile) -> ConvertedTools:
    allowance = Allowance()
    tools = [convert_tool(definition, profile, allowance) for definition in definitions]
    if profile.schema_dialect != "full" and DIALECTS[profile.schema_dialect].uniform_strict:
        _make_strict_uniform(tools)
    names = [definition.data["name"] for definition in definitions]
    by_upstream = {upstream_tool_name(name, profile): name for name in names}
    schemas: dict[str, Any] = {}
    if profile.repair_arguments or profile.unescape_arguments:
        for definition in definitions:
            schema = definition.data.get("input_schema")
            if profile.unescape_arguments or may_need_repair(schema):
                schemas[definition.data["name"]] = schema
    offered = {definition.data["name"]: definition.data.get("input_schema") for definition in definitions}
    offered |= {upstream: offered[name] for upstream, name in by_upstream.items()}
    told = _shorten_descriptions(tools, profile.tool_description_max)
    if profile.api == "responses":
        tools = [_flat(tool["function"]) for tool in tools]
    return ConvertedTools(tools, dumps(tools), frozenset(names), by_upstream, schemas, offered, told)


def _flat(function: dict[str, Any]) -> dict[str, Any]:
    """A function in the format of Responses, where a function is strict by default."""
    return {"type": "function", **function, "strict": function.get("strict", False)}


def _make_strict_uniform(tools: Sequence[dict[str, Any]]) -> None:
    functions = [tool["function"] for tool in tools]
    if not all("strict" in function for function in functions):
        for function in functions:
            function.pop("strict", None)


def _shorten_descriptions(tools: Sequence[dict[str, Any]], limit: int | None) -> tuple[str, ...]:
    """Cut descriptions that are longer than ``limit`` characters; returns the remainders, each with its tool's name."""
    if limit is None:
        return ()
    rests = []
    for function in (tool["function"] for tool in tools):
        description = function.get("description", "")
        if len(description) > limit:
            at = max(0, limit - len(_CUT))
            function["description"] = (description[:at] + _CUT)[:limit]
            rests.append(f"{_REST.format(function['name'])}\n{description[at:]}")
    return tuple(rests)


def convert_tool(definition: Block, profile: Profile, allowance: Allowance) -> dict[str, Any]:
    """One definition as an OpenAI function; ``allowance`` limits how much the schemas of all tools may grow."""
    tool = definition.data
    name = upstream_tool_name(tool["name"], profile)
    description = optional(tool, "description", str, definition)
    schema = optional(tool, "input_schema", dict, definition)
    if schema is None:
        published = client_tool(tool)
        if published is None:
            kind = tool.get("type", "custom")
            if kind == "custom":
                raise invalid_request(f"{definition}.input_schema: Field required")
            raise invalid_request(f"{definition}: tool type '{kind}' is not supported by this endpoint")
        text, schema = published
        description = description or text
    parameters, note, _ = fit_tool(schema, profile.schema_dialect, allowance)
    if note:
        description = f"{description}\n\n{note}" if description else note
    function: dict[str, Any] = {"name": name}
    if description:
        function["description"] = description
    function["parameters"] = parameters
    if tool.get("strict") is True and profile.strict_tools and is_strict(parameters):
        function["strict"] = True
    return {"type": "function", "function": function}


def convert_tool_choice(
    choice: Any, names: Collection[str], profile: Profile, tools: Sequence[Any] = ()
) -> dict[str, Any]:
    """``tool_choice`` and ``parallel_tool_calls`` of a request that has tools; both absent unless requested.

    ``tools``: the client's tools; the chosen one may be a server tool that is left out.
    """
    if choice is None:
        return {}
    expect(choice, dict, "tool_choice")
    params: dict[str, Any] = {}
    match required(choice, "type", str, "tool_choice"):
        case "auto":
            params["tool_choice"] = "auto"
        case "none":
            params["tool_choice"] = "none"
        case "any":
            params["tool_choice"] = "required" if profile.forced_tool_choice else "auto"
        case "tool":
            name = required(choice, "name", str, "tool_choice")
            if name not in names:
                raise _not_offered(name, tools)
            function = {"name": upstream_tool_name(name, profile)}
            flat = profile.api == "responses"
            forced: Any = {"type": "function", **function} if flat else {"type": "function", "function": function}
            if not profile.tool_choice_object:
                forced = "required"
            params["tool_choice"] = forced if profile.forced_tool_choice else "auto"
        case other:
            raise invalid_request(f"tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none', not '{other}'")
    disabled = optional(choice, "disable_parallel_tool_use", bool, "tool_choice")
    if disabled and profile.parallel_flag and params["tool_choice"] != "none":
        params["parallel_tool_calls"] = False
    return params


def _is_server_tool(kind: str, definition: Block) -> bool:
    """Whether Anthropic's servers would run a tool. Raises a 400 for an advisor, which a client can do without."""
    if kind.startswith(_ADVISOR):  # Anthropic's wording, which makes Claude Code continue without it
        raise invalid_request(
            f"{definition}: Input tag '{kind}' found using 'type' does not match any of the expected tags: "
            "'bash_20250124', 'computer_20250124', 'custom', 'memory_20250818', 'text_editor_20250728'"
        )
    return kind.startswith(_SERVER_TOOLS)


def _server_tool_refused(definition: Block) -> ApiError:
    remedy = """with PROVIDER_OPTIONS='{"server_tools": "drop"}' it is left out"""
    if is_search_tool(definition.data):
        remedy = f"set {_SEARCHES} for the proxy to search; {remedy}"
    return invalid_request(f"{definition}: server tool '{definition.type}' is not supported by this endpoint: {remedy}")


def _not_offered(name: str, tools: Sequence[Any]) -> ApiError:
    """The 400 for a choice of a tool that does not exist, or that Anthropic's servers would run."""
    for n, tool in enumerate(tools):
        if tool.get("name") == name and str(tool.get("type")).startswith(_SERVER_TOOLS):
            return _server_tool_refused(Block(tool, "tools", n))
    return invalid_request(f"tool_choice.name: Tool '{name}' not found in provided tools")


def _tool_name(definition: Block) -> str:
    name = required(definition.data, "name", str, definition)
    if not name:
        raise invalid_request(f"{definition}.name: String should have at least 1 character")
    return name


def _referenced(turns: Iterable[Turn]) -> set[str]:
    """The names of all tools that a ``tool_reference`` in a result has made available."""
    names: set[str] = set()
    for turn in turns:
        for block in turn.blocks:
            content = block.data.get("content") if block.type == "tool_result" else None
            for piece in content if isinstance(content, list) else ():
                if isinstance(piece, dict) and piece.get("type") == "tool_reference":
                    names.add(str(piece.get("tool_name")))
    return names


def _apply_change(
    block: Block,
    known: dict[str, Block],
    offered: dict[str, Block],
    hidden: set[str],
    profile: Profile,
) -> None:
    change = required(block.data, "tool", dict, block)
    path = f"{block}.tool"
    kind = required(change, "type", str, path)
    if kind == "tool_definition":
        definition = Block(required(change, "definition", dict, path), f"{path}.definition")
        if _is_server_tool(str(definition.type), definition):
            if not offered and profile.server_tools == "refuse":
                raise _server_tool_refused(definition)
            return
        name = _tool_name(definition)
        known[name] = definition
    elif kind == "tool_reference":
        name = required(change, "name", str, path)
        if name not in known:
            raise invalid_request(f"{path}.name: Tool '{name}' not found in provided tools")
    else:
        expected = "'tool_definition', 'tool_reference'"
        words = f"Input tag '{kind}' found using 'type' does not match any of the expected tags: {expected}"
        raise invalid_request(f"{path}: {words}")
    if block.type == "tool_addition":
        offered[name] = known[name]
        hidden.discard(name)
    else:
        offered.pop(name, None)


def _callable_directly(tool: dict[str, Any]) -> bool:
    callers = tool.get("allowed_callers")
    return not isinstance(callers, list) or "direct" in callers
