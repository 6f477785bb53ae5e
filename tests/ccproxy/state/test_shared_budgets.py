"""Requests and tokens of a key in a minute, counted for two hosts together."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from ccproxy import Settings, create_app
from support.providers.scripted import Reply, ScriptedProvider
from support.serving.servers import serve
from support.serving.state_server import StateServer

MESSAGE = {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(("limit", "allowed"), [("requests_per_minute = 4", 4), ("tokens_per_minute = 400", 4)])
def test_limit_of_a_key_holds_over_hosts(server: StateServer, tmp_path: Path, limit: str, allowed: int) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(f'[[key]]\nname = "ann"\nkey = "key-of-ann"\n{limit}\n[[key]]\nname = "bob"\nkey = "key-of-bob"\n')
    usage = {"prompt_tokens": 90, "completion_tokens": 20, "total_tokens": 110}
    provider = ScriptedProvider(lambda body: Reply("Hello.", usage=usage))
    with ExitStack() as stack:
        upstream = stack.enter_context(serve(provider, lifespan="off"))
        settings = Settings.explicit(
            openai_api_key="k", openai_base_url=f"{upstream.url}/v1", keys_file=str(file), state_url=server.url
        )
        urls = [stack.enter_context(serve(create_app(settings))).url for _ in range(2)]
        answers = []
        for number in range(8):
            answer = httpx.post(
                f"{urls[number % 2]}/v1/messages", json=MESSAGE, headers={"x-api-key": "key-of-ann"}, timeout=30
            )
            answers.append(answer)
        assert Counter(answer.status_code for answer in answers) == {200: allowed, 429: 8 - allowed}
        refused = answers[-1]
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert 1 <= int(refused.headers["retry-after"]) <= 120
        other = httpx.post(f"{urls[0]}/v1/messages", json=MESSAGE, headers={"x-api-key": "key-of-bob"}, timeout=30)
        assert other.status_code == 200
    assert len(provider.completions) == allowed + 1
