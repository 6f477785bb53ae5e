"""``docs/layers.md`` says what the docstrings say, and its code works."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import ccproxy_middleware
from ccproxy_middleware import FormatConversionMiddleware
from support.asgi import Inner, call, http_scope

PAGE = (Path(__file__).parents[1] / "docs/layers.md").read_text()
LAYERS = [name for name in ccproxy_middleware.__all__ if name.endswith("Middleware")]
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def docstring(name: str) -> str:
    """A layer's docstring as Markdown: the parts that have a name stand out."""
    text = inspect.cleandoc(getattr(ccproxy_middleware, name).__doc__).replace("``", "`")
    return re.sub(r"^(Reads|Writes|Needs|Alone):", r"\n**\1:**", text, flags=re.MULTILINE).replace("\n\n\n", "\n\n")


@pytest.mark.parametrize("name", LAYERS)
def test_layer_says_what_it_reads_writes_and_needs(name: str) -> None:
    text = docstring(name)
    assert [part for part in ("Reads", "Writes", "Needs", "Alone") if f"**{part}:**" not in text] == []
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- / -->", PAGE, re.DOTALL)
    assert found, f"docs/layers.md has no part for {name}"
    assert found[1] == text


def test_stack_in_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(CODE[0], "layers.md", "exec"), names)
    assert callable(names["app"])


@pytest.mark.anyio
async def test_layer_of_ones_own_works_before_ours() -> None:
    names: dict[str, Any] = {}
    exec(compile(CODE[1], "layers.md", "exec"), names)
    inner = Inner(b'{"choices":[{"index":0,"message":{"content":"ok"},"finish_reason":"stop"}]}')
    app = names["Redact"](FormatConversionMiddleware(inner))
    request = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "ask a.b@example.com"}]}
    answer = await call(app, http_scope("POST", "/v1/messages", {"content-length": "3"}), request, chunks=3)
    assert answer.status == 200
    assert inner.json()["messages"] == [{"role": "user", "content": "ask [address]"}]
