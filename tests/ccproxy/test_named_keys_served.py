"""Keys with names and limits at a proxy on real sockets, also with two workers, and what Anthropic's SDK sees."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest

from ccproxy import Settings, create_app
from ccproxy.command_line.keys import add_key, revoke_key
from ccproxy_middleware import KeyLimits
from support.providers.scripted import Reply, ScriptedProvider
from support.serving.process import started
from support.serving.servers import serve

MESSAGE = {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}


def entry(name: str, **fields: Any) -> str:
    lines = [f"{field} = {json.dumps(value)}" for field, value in fields.items()]
    return "\n".join(["[[key]]", f'name = "{name}"', f'key = "key-of-{name}"', *lines, ""])


@contextmanager
def proxied_with(file: Path, provider: ScriptedProvider, **settings: Any) -> Iterator[str]:
    with serve(provider, lifespan="off") as upstream:
        known = Settings.explicit(
            openai_api_key="k", openai_base_url=f"{upstream.url}/v1", keys_file=str(file), **settings
        )
        with serve(create_app(known)) as server:
            yield server.url


def post(url: str, key: str, **more: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/messages", json={**MESSAGE, **more}, headers={"x-api-key": key}, timeout=30)


def seconds_until(url: str, key: str, status: int) -> float:
    """When, from now on, a request was sent last that got another status, before 16 in a row got this one."""
    began = last = time.monotonic()
    same = 0
    while same < 16:
        assert time.monotonic() - began < 60
        sent = time.monotonic()
        if post(url, key).status_code == status:
            same += 1
        else:
            same, last = 0, sent
    return last - began


def test_revoked_key_is_refused_by_all_workers_within_five_seconds(tmp_path: Path, capfd: Any) -> None:
    file = tmp_path / "keys.toml"
    add_key("ann", {"requests_per_minute": 1000}, file=str(file))
    ann = capfd.readouterr().out.strip()
    variables = {"OPENAI_API_KEY": "k", "KEYS_FILE": "keys.toml", "LOG_LEVEL": "INFO"}
    with (
        serve(ScriptedProvider(), lifespan="off") as upstream,
        started("gunicorn", tmp_path, upstream.url, **variables) as proxy,
    ):
        assert [post(proxy.url, ann).status_code for _ in range(8)] == [200] * 8
        add_key("bob", {}, file=str(file))
        bob = capfd.readouterr().out.strip()
        assert seconds_until(proxy.url, bob, 200) < 5
        revoke_key("ann", file=str(file))
        assert seconds_until(proxy.url, ann, 401) < 5
        answer = post(proxy.url, ann)
        assert "this key has been revoked" in answer.json()["error"]["message"]
        file.write_text("[[key]]\n")
        time.sleep(1.1)  # until it is looked at again
        assert [post(proxy.url, key).status_code for key in [bob, ann] * 4] == [200, 401] * 4
        page = httpx.get(f"{proxy.url}/metrics", headers={"x-api-key": bob}).text
        proxy.terminate()
    log = proxy.output.read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    names = {line.get("client_key") for line in lines if "/v1/messages" in str(line.get("event"))}
    assert names - {None} == {"ann", "bob"}  # None: before the key was known
    broken = [line for line in lines if "KEYS_FILE has changed and can't be used" in str(line)]
    assert 1 <= len(broken) <= 2  # one of each worker
    assert "keys.toml, entry 1, name: an entry needs one" in str(broken[0])
    assert ann not in log
    assert bob not in log
    counted = re.search(r'ccproxy_key_requests_total{client_key="ann",status="200"} ([0-9.]+)', page)
    assert counted is not None
    assert float(counted[1]) >= 8  # and those that came before the key was revoked everywhere


def test_key_that_is_in_use_by_a_stream_ends_it_whole(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(entry("ann"))
    provider = ScriptedProvider([Reply(["a", "b", "c"], delay=0.7)])
    body = {**MESSAGE, "stream": True}
    with (
        proxied_with(file, provider) as url,
        httpx.stream("POST", f"{url}/v1/messages", json=body, headers={"x-api-key": "key-of-ann"}) as answer,
    ):
        chunks = answer.iter_text()
        received = next(chunks)
        revoke_key("ann", file=str(file))
        received += "".join(chunks)
    assert received.count("message_stop") == 2  # the event and its type


def test_sdk_sees_each_refusal(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    late = entry("late").rstrip() + f"\nexpires = {yesterday}\n"
    file.write_text(
        entry("ann", tiers=["small"], models=["gpt-4o-mini"])
        + entry("bob", requests_per_minute=1)
        + late
        + entry("gone", revoked=True)
    )
    provider = ScriptedProvider()

    def ask(url: str, key: str, model: str = "claude-haiku-4-5") -> anthropic.types.Message:
        with anthropic.Anthropic(api_key=key, base_url=url, max_retries=0) as client:
            return client.messages.create(model=model, max_tokens=9, messages=[{"role": "user", "content": "hi"}])

    with proxied_with(file, provider) as url:
        assert ask(url, "key-of-ann").type == "message"
        assert ask(url, "key-of-ann", "gpt-4o-mini").type == "message"
        with pytest.raises(anthropic.PermissionDeniedError, match="the key ann may use the tier small; gpt-4o is of"):
            ask(url, "key-of-ann", "claude-opus-4-8")
        with pytest.raises(
            anthropic.PermissionDeniedError, match="may use the models gpt-4o-mini; this request is for x"
        ):
            ask(url, "key-of-ann", "x")
        for key, words in (
            ("late", "this key expired on"),
            ("gone", "has been revoked"),
            ("nobody", "invalid API key"),
        ):
            with pytest.raises(anthropic.AuthenticationError, match=words):
                ask(url, f"key-of-{key}")
        assert ask(url, "key-of-bob").type == "message"
        with pytest.raises(
            anthropic.RateLimitError, match="the key bob has a limit of 1 requests per minute"
        ) as raised:
            ask(url, "key-of-bob")
        assert 50 <= int(raised.value.response.headers["retry-after"]) <= 61
    assert len(provider.completions) == 3


def test_rule_asks_for_the_name_of_the_key(tmp_path: Path) -> None:
    file, routes = tmp_path / "keys.toml", tmp_path / "routes.toml"
    file.write_text(entry("ann") + entry("bob"))
    routes.write_text('[[route]]\nwhen = { client_key = ["bob", "key 2"] }\nmodels = ["special"]\n')
    provider = ScriptedProvider()
    with proxied_with(file, provider, routes_file=str(routes), anthropic_api_key="one,two") as url:
        for key in ("key-of-ann", "key-of-bob", "one", "two"):
            assert post(url, key).status_code == 200
    assert [body["model"] for body in provider.completions] == ["gpt-4o-mini", "special", "gpt-4o-mini", "special"]


def test_nobody_enters_where_the_file_has_no_key(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text("# none yet\n")
    with proxied_with(file, ScriptedProvider()) as url:
        assert post(url, "any").status_code == 401
        assert httpx.get(f"{url}/health").status_code == 200


def test_limits_are_plain_data() -> None:
    assert KeyLimits().rates is None
    assert not KeyLimits(requests_per_minute=1).has_cap
