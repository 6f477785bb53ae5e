"""The requests in which Claude Code's auto mode asks a model whether an action is safe.

They are ordinary requests, told by their system prompt alone. Each layer tells them by itself, wherever it stands: by
the request in Anthropic's form, and inside a converter, which may have put the prompt elsewhere, by what it has noted.
"""

from typing import Any

from starlette.types import Scope

MARK = "You are a security monitor"
"""How their system prompt begins: in both stages of the check, and in all versions that were seen up to 2.1.332."""

_BILLING_HEADER = "x-anthropic-billing-header"  # of a block that may stand before it


def is_safety_check(data: Any, scope: Scope | None = None) -> bool:
    """Whether a request is one of them. ``scope`` is looked at where a converter may stand outside."""
    if scope is not None and "ccproxy.safety_check" in scope:
        return bool(scope["ccproxy.safety_check"])
    system = data.get("system") if isinstance(data, dict) else None
    if isinstance(system, str):
        return system.lstrip().startswith(MARK)
    for block in system if isinstance(system, list) else ():
        text = block.get("text") if isinstance(block, dict) else None
        if isinstance(text, str) and not text.startswith(_BILLING_HEADER):
            return text.lstrip().startswith(MARK)
    return False
