"""Converted tools are remembered while they are the same list, and no more of them than a worker can hold."""

import tracemalloc
from typing import Any

from ccproxy_middleware.conversion.chat.request import convert_request
from ccproxy_middleware.conversion.chat.tools import ToolConverter
from ccproxy_middleware.conversion.providers.profiles import resolve_profile

PROFILE = resolve_profile("generic", {})


def tools(size: int, name: str = "f", **fields: Any) -> list[dict[str, Any]]:
    schema = {"type": "object", "properties": {f"{name}{n}": {} for n in range(size)}}
    return [{"name": name, "input_schema": schema, **fields}]


def convert(converter: ToolConverter, offered: list[dict[str, Any]]) -> Any:
    request = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "tools": offered}
    return convert_request(request, PROFILE, tool_converter=converter).body["tools"]


def test_last_few_lists_of_usual_size_are_remembered() -> None:
    converter = ToolConverter()
    offered = [tools(2000, f"tool{n}") for n in range(8)]
    first = [convert(converter, one) for one in offered]
    assert all(convert(converter, one) is known for one, known in zip(offered, first, strict=True))


def test_what_is_remembered_is_bounded_by_what_it_takes() -> None:
    converter = ToolConverter()
    tracemalloc.start()
    try:
        for n in range(8):
            convert(converter, tools(10, ignored=[[] for _ in range(50_000)]))
            convert(converter, tools(20_000, f"tool{n}"))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 48 * 1024 * 1024


def test_tools_that_leave_out_what_is_nested_too_deeply_are_converted() -> None:
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    assert len(convert(ToolConverter(), tools(1, ignored=deep))) == 1
