"""The documentation says what the code says: what is made of the code, links, examples, settings, messages."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from ccproxy import Settings
from ccproxy.settings.configuration import ConfigurationError
from ccproxy.settings.custom_headers import HEADER_PREFIX
from ccproxy.settings.upstreams import parted
from ccproxy_middleware import FormatConversionMiddleware
from ccproxy_middleware.conversion.providers.profiles import PROFILES
from support.asgi import Inner, call, http_scope
from support.documents import LAYERS, layer_docstring, made, pages, part
from support.paths import ROOT

PAGE = (ROOT / "docs/layers.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("name", LAYERS)
def test_layer_says_what_it_reads_writes_and_needs(name: str) -> None:
    text = layer_docstring(name)
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


PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in pages()}
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", PAGES)
def test_page_is_what_the_code_makes_of_it(name: str) -> None:
    assert PAGES[name] == made(PAGES[name]), "write it anew by: python -m support.documents (in tests/)"


@pytest.mark.parametrize(("name", "table"), [("docs/settings.md", "switches"), ("docs/observability.md", "log fields")])
def test_table_tells_what_each_row_means(name: str, table: str) -> None:
    assert [row for row in part(PAGES[name], table).splitlines() if row.endswith(("| |", "|  |"))] == []


def anchors(page: str) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    heads = re.findall(r"^#+ (.*)$", FENCED.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = FENCED.sub("", PAGES[name])
    for target in re.findall(r"\]\(([^)\s]+)\)", page):
        path, _, anchor = target.partition("#")
        if path.startswith("https://"):
            continue
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_page_is_in_the_index(path: Path) -> None:
    assert path.name == "README.md" or f"]({path.name})" in PAGES["docs/README.md"]


def blocks(language: str, *, but: str = "") -> list[Any]:
    """The fenced blocks of one language on all pages; the README's code has tests of its own."""
    return [
        pytest.param(block, id=f"{name}-{n}")
        for name, page in PAGES.items()
        if name not in ("README.md", but)
        for n, block in enumerate(re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL))
    ]


@pytest.mark.parametrize("code", blocks("python", but="docs/layers.md"))
def test_code_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs", "exec"), {})


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the environment's variables is a setting."""
    for name in os.environ:
        if name.lower() in Settings.model_fields or name.startswith(HEADER_PREFIX):
            monkeypatch.delenv(name)


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize("lines", blocks("ini"))
def test_lines_for_env_are_settings(lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = re.findall(r"^(\w+)=", lines, re.MULTILINE)
    named = [name for name in variables if HEADER_PREFIX not in name and parted(name) is None]
    assert [name for name in named if name.lower() not in Settings.model_fields] == []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "routes.toml").write_text("")
    (tmp_path / "env").write_text("OPENAI_API_KEY=none\n" + lines)
    Settings.load(str(tmp_path / "env"))


PROVIDERS = re.findall(r"^## .*?\n```ini\n(.*?)```\n\n<!-- profile (.*?) -->", PAGES["docs/providers.md"], re.S | re.M)


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize(("lines", "profile"), PROVIDERS, ids=[profile for _, profile in PROVIDERS])
def test_lines_of_a_provider_give_its_profile(lines: str, profile: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text(lines)
    assert Settings.load(str(tmp_path / "env")).provider == profile


def test_every_profile_has_its_lines() -> None:
    assert ["generic", *(profile for _, profile in PROVIDERS)] == list(PROFILES)


SOURCE = re.sub(  # strings that go over several lines, put together
    r"[\"']\s*\n\s*f?[\"'](?![\"'])",
    "",
    "\n".join(path.read_text() for root in ("ccproxy", "middleware") for path in (ROOT / root).rglob("*.py")),
)
MESSAGES = re.findall(r"^\| `(.*?)` \|", part(PAGES["docs/troubleshooting.md"], "messages"), re.MULTILINE)


@pytest.mark.parametrize("message", MESSAGES)
def test_message_is_one_of_the_proxys(message: str) -> None:
    """``...`` stands for what differs. Where a message ends in the middle of ours, the rest of it was left out."""
    pieces = [re.escape(piece.strip()) for piece in message.split("...") if piece.strip()]
    assert re.search(r".{0,80}?".join(pieces), SOURCE), message


def test_line_about_a_bad_setting_is_the_proxys() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.explicit()
    assert f"`{caught.value}`" in PAGES["docs/troubleshooting.md"].replace("\n", " ")


def test_metrics_that_are_named_exist() -> None:
    known = set(re.findall(r"^\| `(\w+)` \|", part(PAGES["docs/observability.md"], "metrics"), re.MULTILINE))
    known |= {f"{name}_{end}" for name in known for end in ("bucket", "sum", "count")}
    known |= {name.removesuffix("_total") for name in known}
    labels = {"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_token_type"}
    texts = [*PAGES.values(), (ROOT / "deploy/grafana-dashboard.json").read_text()]
    named = {name for text in texts for name in re.findall(r"\b(?:ccproxy|gen_ai)_[a-z_]+[a-z]\b", text)}
    assert sorted(named - known - labels - {"ccproxy_middleware", "ccproxy_settings"}) == []
