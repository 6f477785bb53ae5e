"""Refusals of requests with too many tools, by their words."""

import re

_TOO_MANY = re.compile(
    r"""
      ['"`]?tools['"`]?\W{1,4}array\ too\ long                              # OpenAI, Azure, GitHub Copilot
    | at\ most\ \d+\ function\ declarations                                 # Gemini
    | (?:tools|functions?|function_declarations)\b[^\n.]{0,60}(?:array\ too\ long|max(?:imum)?\b[^\n.]{0,40}\d+\ items?)
    | (?:more\ than|maximum\ (?:number\ )?of|maximum\ is|limit\ of|at\ most|exceeds?)\ [^\n.]{0,20}?
      \d+\ (?:tools|functions)\b                                            # GitHub Copilot in an editor, others
    | too\ many\ (?:tools|functions)\b
    | number\ of\ (?:tools|functions)\b[^\n.]{0,30}(?:exceed|limit|max)
    | 工具数量(?:超|不能)
    """,
    re.VERBOSE | re.IGNORECASE,
)

TOOL_LIMIT_REMEDY = (
    "Remedy: let Claude Code load tools only when they are needed (ENABLE_TOOL_SEARCH=true, its default), "
    "or use fewer MCP servers"
)


def says_too_many_tools(message: str) -> bool:
    """Whether a provider refuses the number of the tools."""
    return _TOO_MANY.search(message) is not None
