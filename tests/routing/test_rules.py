"""Rules: what each condition asks, when it holds, and what is said of one that can't be."""

import base64
import re
from datetime import datetime
from typing import Any

import pytest

from ccproxy_middleware.conversion.chat import convert_request
from ccproxy_middleware.conversion.counting import estimate_request
from ccproxy_middleware.conversion.providers import PROFILES
from ccproxy_middleware.routing import RequestFacts, Route, explain, first_match, named
from ccproxy_middleware.toolkit.json import dumps
from support.pdfs import base64_of, make_pdf

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8) + (640).to_bytes(4, "big") + (480).to_bytes(4, "big")).decode()
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A text."}}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def result(*blocks: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "toolu_1", "content": list(blocks)}


def facts(
    data: dict[str, Any] | None = None,
    *,
    hour: int = 12,
    headers: dict[str, str] | None = None,
    scope: dict[str, Any] | None = None,
) -> RequestFacts:
    data = {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "Hi"}], **(data or {})}
    pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return RequestFacts(data, {"type": "http", "headers": pairs, **(scope or {})}, now=datetime(2026, 1, 1, hour))


CASES: list[tuple[dict[str, Any], RequestFacts, bool]] = [
    ({}, facts(), True),
    ({"tier": "big"}, facts(), True),
    ({"tier": "small"}, facts(), False),
    ({"tier": ["middle", "small"]}, facts({"model": "claude-haiku-5-5"}), True),
    ({"tier": "big"}, facts({"model": "qwen3"}), False),
    ({"tier": "small"}, facts(scope={"ccproxy.model": {"requested": "claude-haiku", "tier": "SMALL_MODEL"}}), True),
    ({"model": "claude-opus-*"}, facts(scope={"ccproxy.model": {"requested": "Claude-Opus-5"}}), True),
    ({"model": "claude-*[1m]"}, facts({"model": "claude-opus-5-5[1m]"}), True),
    ({"model": "claude-*[1m]"}, facts({"model": "claude-opus-5-5m"}), False),
    ({"model": ["qwen?", "claude-opus"]}, facts({"model": "qwen3"}), True),
    ({"model": "opus"}, facts(), False),
    ({"request_class": "subagent"}, facts(headers={"x-claude-code-request-class": "subagent"}), True),
    ({"request_class": ["main", "subagent"]}, facts(headers={"x-claude-code-request-class": "auxiliary"}), False),
    ({"request_class": "main"}, facts(), False),
    ({"agent_type": ["Plan", "Explore"]}, facts(headers={"x-claude-code-agent-type": "Explore"}), True),
    ({"agent_type": ["Plan"]}, facts(headers={"x-claude-code-agent-type": "Explore"}), False),
    ({"compaction": "auto"}, facts(headers={"x-claude-code-compaction": "auto"}), True),
    ({"compaction": ["manual", "reactive"]}, facts(headers={"x-claude-code-compaction": "auto"}), False),
    ({"input_tokens_over": 1000}, facts({"system": "word " * 1000}), True),
    ({"input_tokens_over": 1000}, facts(), False),
    ({"images": True}, facts({"messages": [user(IMAGE)]}), True),
    ({"images": True}, facts({"messages": [user(result(IMAGE))]}), True),
    ({"images": True}, facts({"messages": [user(result({"type": "text", "text": "image"}))]}), False),
    ({"images": False}, facts(), True),
    ({"images": False}, facts({"messages": [user(IMAGE)]}), False),
    ({"images": True}, facts({"messages": [user({"type": "image_url", "image_url": {"url": "http://x/y"}})]}), True),
    ({"images": True}, facts({"messages": None, "input": [user({"type": "input_image", "image_url": "u"})]}), True),
    ({"documents": True}, facts({"messages": [user(DOCUMENT)]}), True),
    ({"documents": True}, facts({"messages": [user(result(DOCUMENT))]}), True),
    ({"documents": True}, facts({"messages": [user(IMAGE)]}), False),
    ({"web_search": True}, facts({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}), True),
    ({"web_search": True}, facts({"tools": [{"name": "web_search", "input_schema": {}}]}), False),
    ({"web_search": False}, facts(), True),
    ({"thinking": True}, facts({"thinking": {"type": "adaptive"}}), True),
    ({"thinking": True}, facts({"thinking": {"type": "enabled", "budget_tokens": 2000}}), True),
    ({"thinking": True}, facts({"thinking": {"type": "disabled"}}), False),
    ({"thinking": False}, facts(), True),
    ({"thinking": True}, facts({"reasoning_effort": "low"}), True),
    ({"effort": ["high", "max"]}, facts({"output_config": {"effort": "high"}}), True),
    ({"effort": "high"}, facts({"output_config": {"effort": "low"}}), False),
    ({"effort": "high"}, facts(), False),
    ({"effort": "low"}, facts({"reasoning": {"effort": "low"}}), True),
    (
        {"effort": "low"},
        facts({
            "output_config": {"effort": "high"},
            "messages": [{"role": "system", "content": [], "output_config": {"effort": "low"}}],
        }),
        True,
    ),
    ({"tools": ["Bash", "Edit"]}, facts({"tools": [{"name": "Read"}, {"name": "Edit"}]}), True),
    ({"tools": ["mcp__github__*"]}, facts({"tools": [{"name": "mcp__github__search"}]}), True),
    ({"tools": "Bash"}, facts({"tools": [{"function": {"name": "Bash"}}]}), True),
    ({"tools": ["Bash"]}, facts({"tools": [{"name": "BashOutput"}]}), False),
    ({"client_key": "ci"}, facts(scope={"ccproxy.client_key": "ci"}), True),
    ({"client_key": ["ci", "team-a"]}, facts(scope={"ccproxy.client_key": "team-b"}), False),
    ({"client_key": "ci"}, facts(), False),
    ({"hour": [9, 17]}, facts(hour=9), True),
    ({"hour": [9, 17]}, facts(hour=17), False),
    ({"hour": [22, 6]}, facts(hour=23), True),
    ({"hour": [22, 6]}, facts(hour=5), True),
    ({"hour": [22, 6]}, facts(hour=6), False),
    ({"hour": [22, 24]}, facts(hour=23), True),
    ({"tier": "big", "images": True}, facts(), False),
    ({"tier": "big", "images": False}, facts(), True),
]  # fmt: skip


@pytest.mark.parametrize(("conditions", "asked", "fits"), CASES, ids=lambda case: str(case)[:60])
def test_rule_fits_if_all_its_conditions_hold(conditions: dict[str, Any], asked: RequestFacts, fits: bool) -> None:
    route = Route("m", **conditions)
    assert route.matches(asked) is fits
    assert bool(route.misfits(asked)) is not fits


BAD: list[tuple[dict[str, Any], str]] = [
    ({"tire": "big"}, "tire: there is no such condition. Do you mean tier?"),
    ({"xyz": 1}, "xyz: there is no such condition; there are tier, model"),
    ({"tier": "huge"}, "tier: given 'huge'; 'huge' is none; accepted: one or several of big, middle, small"),
    ({"tier": []}, "tier: given []"),
    ({"model": 3}, "model: given 3; accepted: a text or a list of texts"),
    ({"request_class": "subagents"}, "Do you mean subagent?"),
    ({"agent_type": [""]}, "agent_type: given ['']"),
    ({"agent_type": {"Explore": 1}}, "agent_type: given"),
    ({"compaction": "never"}, "accepted: one or several of auto, manual, reactive"),
    ({"input_tokens_over": "180000"}, "input_tokens_over: given '180000'; accepted: a whole number of tokens"),
    ({"input_tokens_over": True}, "input_tokens_over: given True"),
    ({"input_tokens_over": -1}, "input_tokens_over: given -1"),
    ({"images": "yes"}, "images: given 'yes'; accepted: true or false"),
    ({"documents": 1}, "documents: given 1; accepted: true or false"),
    ({"web_search": None}, "web_search: given None"),
    ({"thinking": []}, "thinking: given []"),
    ({"effort": "hihg"}, "Do you mean high?"),
    ({"tools": [1]}, "tools: given [1]"),
    ({"client_key": 1}, "client_key: given 1"),
    ({"hour": [9]}, "hour: given [9]; accepted: two different hours, [from, to), such as [22, 6]"),
    ({"hour": [9, 9]}, "hour: given [9, 9]"),
    ({"hour": [24, 3]}, "hour: given [24, 3]"),
    ({"hour": [9, 25]}, "hour: given [9, 25]"),
    ({"hour": [9.5, 12]}, "hour: given [9.5, 12]"),
    ({"hour": "9-17"}, "hour: given '9-17'"),
    ({"name": "a;b"}, "name: given 'a;b'"),
]


@pytest.mark.parametrize(("conditions", "message"), BAD, ids=lambda case: str(case)[:60])
def test_condition_that_cant_be_is_named(conditions: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Route("m", **conditions)


@pytest.mark.parametrize("models", ["", "a,,b", [], [""], [1], None, {"a": 1}], ids=str)
def test_models_that_cant_be_are_named(models: Any) -> None:
    with pytest.raises(ValueError, match=r"^models: given"):
        Route(models)


def test_models_are_a_list_or_a_text_with_commas() -> None:
    assert Route("local:qwen3, gpt-4o,gpt-4o").models == Route(["local:qwen3", "gpt-4o"]).models
    assert Route("llama3.1:70b").models == ("llama3.1:70b",)


def test_route_is_a_value() -> None:
    one, same = Route("m", tier="big", hour=[1, 2]), Route(["m"], tier=["big"], hour=(1, 2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != Route("m", tier="big")
    with pytest.raises(AttributeError):
        one.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        one.conditions["tier"] = "small"  # type: ignore[index]


def test_first_rule_that_fits_wins() -> None:
    routes = named([Route("a", images=True), Route("b", tier="big", name="big"), Route("c")])
    assert [route.name for route in routes] == ["1", "big", "3"]
    assert first_match(routes, facts()) is routes[1]
    assert first_match(routes, facts({"model": "qwen3"})) is routes[2]
    assert first_match(routes[:1], facts()) is None


def test_name_stands_for_one_rule() -> None:
    with pytest.raises(ValueError, match=r"^name: two rules are called '2'$"):
        named([Route("a", name="2"), Route("b")])


def test_explanation_says_why_earlier_rules_do_not_fit() -> None:
    routes = named([
        Route("a", images=True, request_class="subagent", tier="big"),
        Route("b", input_tokens_over=100_000),
        Route("c", hour=[22, 6], tools=["Bash", "Edit"]),
        Route("d", tier="big"),
        Route("e"),
    ])  # fmt: skip
    said = [[str(misfit) for misfit in each.misfits] for each in explain(routes, facts())]
    tokens = facts().input_tokens
    assert said == [
        ["images is false, not true", "request_class is not told, not subagent"],
        [f"the prompt has {tokens} tokens, not over 100000"],
        ["hour is 12, not from 22 to 6", "tools is none, not Bash or Edit"],
        [],
    ]


def test_facts_are_found_once_and_only_if_asked_for() -> None:
    class Counting(dict[str, Any]):
        asked: list[str] = []  # noqa: RUF012

        def get(self, key: str, default: Any = None) -> Any:
            self.asked.append(key)
            return super().get(key, default)

    data = Counting({"model": "claude-opus", "messages": [user(IMAGE)], "tools": [{"name": "Bash"}]})
    asked = RequestFacts(data, {"type": "http", "headers": []})
    assert Route("m", tier="small", images=True).matches(asked) is False
    assert data.asked == ["model"]
    assert Route("m", tools="Bash").matches(asked)
    assert Route("m", tools="Edit").matches(asked) is False
    assert data.asked == ["model", "tools"]


BROKEN: list[Any] = [
    None,
    [],
    {},
    {"messages": 3, "tools": "x", "thinking": 1, "output_config": [], "reasoning": 1, "model": 5, "system": {}},
    {"messages": [1, {"content": [1, {"type": 3}, {"type": "image", "source": "x"}, {"type": "document"}]}]},
    {"messages": [{"content": [{"type": ["text"]}, {"type": "image_url", "image_url": 3}, {"type": "file"}]}]},
    {"tools": [{"name": 3}, {"function": "x"}, {"type": {}}, 7], "input": [{"type": "x", "output": 4}]},
    {"system": [{"type": "text", "text": None}], "messages": [{"role": "system", "output_config": {"effort": 3}}]},
]


@pytest.mark.parametrize("data", BROKEN, ids=str)
def test_fact_never_raises(data: Any) -> None:
    asked = RequestFacts(data, {"type": "http", "headers": []})
    every = {"tier": "big", "model": "*", "input_tokens_over": 10**9, "images": True, "documents": True}
    every |= {"web_search": True, "thinking": True, "effort": "low", "tools": "x", "client_key": "x", "hour": [0, 24]}
    for name, wanted in every.items():
        Route("m", **{name: wanted}).misfits(asked)  # type: ignore[arg-type]


def test_tokens_are_those_of_count_tokens() -> None:
    """Of a conversation with all that Claude Code sends; without a tokenizer both are the same estimate."""
    tool = {"name": "Read", "description": "Reads a file. " * 50, "input_schema": {"type": "object", "properties": {}}}
    pdf = base64_of(make_pdf("Some words"))
    call = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "a" * 200}}
    data: dict[str, Any] = {
        "model": "claude-opus-5-5",
        "max_tokens": 1000,
        "system": [{"type": "text", "text": "You are an agent. " * 200}],
        "tools": [tool],
        "messages": [
            user({"type": "text", "text": "Read it. 読んでください。" * 100}, IMAGE),
            {"role": "assistant", "content": [{"type": "text", "text": "Well."}, call]},
            user(result({"type": "text", "text": "line\n" * 5000})),
            user({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": pdf}}),
        ],
    }
    counted = estimate_request(convert_request(data, PROFILES["openai"], counting=True).body)
    assert facts(data).input_tokens == pytest.approx(counted, rel=0.02)
    chat = convert_request(data, PROFILES["openai"], counting=True).body
    assert facts({**chat, "system": None}).input_tokens == pytest.approx(counted, rel=0.02)


def test_tool_whose_loading_is_put_off_counts_once_it_was_found() -> None:
    tools = [{"name": f"t{n}", "description": "x " * 500, "defer_loading": True} for n in range(10)]
    found = user(result({"type": "tool_reference", "tool_name": "t3"}))
    assert facts({"tools": tools}).input_tokens < 20
    assert 250 < facts({"tools": tools, "messages": [found]}).input_tokens < 400


def test_size_of_an_image_is_read_from_its_head_alone() -> None:
    large = {**IMAGE, "source": {**IMAGE["source"], "data": PNG + "A" * 3_000_000}}  # type: ignore[dict-item]
    assert facts({"messages": [user(large)]}).input_tokens == facts({"messages": [user(IMAGE)]}).input_tokens


def test_odd_body_is_as_large_as_its_json() -> None:
    block = {"type": "new_kind", "text": "x" * 3600}
    assert facts({"messages": [user(block)]}).input_tokens > len(dumps(block)) / 3.7
