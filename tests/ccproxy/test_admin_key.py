"""ADMIN_API_KEY at a proxy on real sockets: what it opens, and what it doesn't."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.providers.scripted import ScriptedProvider
from support.serving.proxied import proxied

CLIENT, ADMIN = "client-key-of-ann", "planted-admin-key"
MESSAGE = {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}


class Proxy:
    """Requests to a proxy with the inspector, and what its provider was asked."""

    def __init__(self, url: str, provider: ScriptedProvider) -> None:
        self.url, self.provider = url, provider

    def get(self, path: str, key: str = "") -> httpx.Response:
        return httpx.get(self.url + path, headers={"x-api-key": key} if key else {})

    def post(self, path: str, key: str = "", **headers: str) -> httpx.Response:
        return httpx.post(self.url + path, json=MESSAGE, headers={**({"x-api-key": key} if key else {}), **headers})


@contextmanager
def inspected(**settings: Any) -> Iterator[Proxy]:
    provider = ScriptedProvider()
    with proxied(provider, inspector=True, **settings) as url:
        yield Proxy(url, provider)


def test_admin_key_alone_opens_what_shows_others() -> None:
    with inspected(anthropic_api_key=CLIENT, admin_api_key=f"other,{ADMIN}") as proxy:
        assert proxy.post("/v1/messages", CLIENT).status_code == 200
        for path in ("/ui/api/exchanges", "/ui/api/events", "/metrics"):
            for key in ("", CLIENT, "wrong"):
                answer = proxy.get(path, key)
                assert answer.status_code == 401, (path, key)
                assert "ADMIN_API_KEY" in answer.json()["error"]["message"]
        assert proxy.get("/ui/").status_code == 200  # the page itself, which asks for the key
        assert "ccproxy_requests_total" in proxy.get("/metrics", ADMIN).text
        [exchange] = proxy.get("/ui/api/exchanges", "other").json()["exchanges"]
        assert exchange["client_key"] == "key 1"
        for path in ("/v1/messages", "/v1/messages/count_tokens"):
            assert proxy.post(path, ADMIN).status_code == 401
        assert proxy.get("/v1/models", ADMIN).status_code == 401
        replay = f"/ui/api/exchanges/{exchange['id']}/replay"
        assert proxy.post(replay, CLIENT).status_code == 401
        answer = proxy.post(replay, ADMIN)
        assert answer.json()["type"] == "message"
        newest = proxy.get("/ui/api/exchanges", ADMIN).json()["exchanges"][-1]
        assert (newest["client_key"], newest["replay_of"]) == ("admin key 2", exchange["id"])
        assert ADMIN not in str(proxy.get(f"/ui/api/exchanges/{newest['id']}", ADMIN).json())
        assert ADMIN not in str(proxy.provider.requests)
        assert len(proxy.provider.completions) == 2


def test_without_client_keys_the_admin_key_is_needed_on_this_machine_too() -> None:
    with inspected(admin_api_key=ADMIN) as proxy:
        assert proxy.post("/v1/messages").status_code == 200
        assert proxy.get("/metrics").status_code == 401
        assert proxy.get("/ui/api/exchanges").status_code == 401
        [exchange] = proxy.get("/ui/api/exchanges", ADMIN).json()["exchanges"]
        assert exchange["client_key"] is None
        assert proxy.post(f"/ui/api/exchanges/{exchange['id']}/replay", ADMIN).json()["type"] == "message"
        assert ADMIN not in str(proxy.provider.requests)


@pytest.mark.parametrize(
    ("keys", "file", "opens"),
    [
        (CLIENT, None, True),
        (f"{CLIENT},two", None, False),
        (CLIENT, "", True),
        (CLIENT, '[[key]]\nname = "bob"\nkey = "b"\nrevoked = true\n', False),
        (None, f'[[key]]\nname = "ann"\nkey = "{CLIENT}"\n', True),
        (None, f'[[key]]\nname = "ann"\nkey = "{CLIENT}"\n[[key]]\nname = "bob"\nkey = "b"\n', False),
    ],
)
def test_client_key_opens_the_page_only_where_it_is_the_only_one(
    tmp_path: Path, keys: str | None, file: str | None, opens: bool
) -> None:
    settings: dict[str, Any] = {"anthropic_api_key": keys}
    if file is not None:
        path = tmp_path / "keys.toml"
        path.write_text(file)
        settings["keys_file"] = str(path)
    with inspected(**settings) as proxy:
        assert proxy.post("/v1/messages", CLIENT).status_code == 200
        for page in ("/ui/", "/ui/api/exchanges"):
            answer = proxy.get(page, CLIENT)
            assert answer.status_code == (200 if opens else 403)
            assert opens or "set ADMIN_API_KEY" in answer.text
        assert proxy.get("/metrics", CLIENT).status_code == 200
        assert proxy.get("/metrics").status_code == 401
