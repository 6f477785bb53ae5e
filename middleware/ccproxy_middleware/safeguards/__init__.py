"""Verdicts on the tool calls of an answer, for clients that ask for them: Claude Code in auto mode.

A request asks with ``safeguards: [{"type": "dangerous_tool_use", ...}]``. The answer tells in ``safeguard_results`` of
each ``tool_use`` block whether it is dangerous, or that nobody can say.
"""

from .answer import SafeguardedAnswer, asks_for_verdicts
from .middleware import SafeguardsMiddleware

__all__ = ["SafeguardedAnswer", "SafeguardsMiddleware", "asks_for_verdicts"]
