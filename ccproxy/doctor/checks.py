"""Every check, in the order in which they run. To add one, write a function that asks, and add a row here."""

from . import answers, connection, forms, helpers, schemas, tools
from .api import api
from .examination import Check

CHECKS = (
    Check("reachable", "Reachable", connection.reachable),
    Check("tls", "TLS", connection.tls, ("reachable",)),
    Check("base_url", "Base URL", connection.base_url, ("tls",)),
    Check("provider", "Profile", connection.provider, ("base_url",)),
    Check("key", "Key", connection.key, ("base_url",)),
    Check("models", "Models", connection.models, ("key",)),
    Check("window", "Context size", connection.window, ("key",)),
    Check("max_tokens", "max_tokens", answers.max_tokens, ("key",)),
    Check("answer", "Plain answer", answers.plain_answer, ("key",)),
    Check("stream", "Streaming", answers.streaming, ("answer",)),
    Check("usage", "Usage", answers.usage, ("stream",)),
    Check("stop", "Stop sequences", answers.stop_sequences, ("answer",)),
    Check("reasoning", "Reasoning", answers.reasoning, ("answer",)),
    Check("content_parts", "Content parts", forms.content_parts, ("answer",)),
    Check("images", "Images", answers.images, ("answer",)),
    Check("system_messages", "System messages", forms.system_messages, ("answer",)),
    Check("truncation", "Long prompts", answers.truncation, ("answer",)),
    Check("tools", "Tools", tools.tools, ("answer",)),
    Check("parallel_tools", "Parallel tools", tools.parallel_tools, ("tools",)),
    Check("tool_choice", "Forced tool", tools.tool_choice, ("tools",)),
    Check("two_results", "Two results", forms.two_results, ("tools",)),
    Check("long_description", "Long description", forms.long_description, ("tools",)),
    Check("schemas", "Schemas", schemas.tool_schemas, ("tools",)),
    Check("claude_code", "Claude Code's request", tools.claude_code, ("tools",)),
    Check("api", "API", api, ("answer",)),
    Check("search", "Web search", helpers.search),
    Check("planner", "Boost's planner", helpers.planner),
)
