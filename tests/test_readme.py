"""The README says what is true: its providers, its commands and its code. What the code makes of it: test_docs.py."""

import re
from pathlib import Path

import pytest

from ccproxy_middleware.conversion.providers.profiles import detect_provider
from support.documents import OFTEN_SET, part
from support.paths import ROOT

README = (ROOT / "README.md").read_text()
DOCS = {path: path.read_text() for path in (ROOT / "docs").glob("*.md")}

ELSEWHERE = {
    "cp .env.example .env": "test_settings",
    "cc-boost": "test_cli",
    "cc-boost claude": "test_launch",
    "cc-boost claude --url http://localhost:8082": "test_launch",
    "cc-boost config": "test_config",
    "cc-boost setup": "test_setup",
    "cc-boost service install": "test_service",
    "cc-boost doctor": "test_doctor_command",
    'eval "$(cc-boost env)"': "test_launch",
    "ANTHROPIC_BASE_URL=http://localhost:8082 ANTHROPIC_AUTH_TOKEN=any-text claude": "test_claude_code",
    "gunicorn -c gunicorn.conf.py asgi:app": "test_run",
}
"""Commands that a test runs in a form of its own: the file of that test."""


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_example_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert callable(names["app"])


def test_settings_that_are_often_set_are_settings() -> None:
    shown = re.findall(r"^\| `([\w*<>]+)` \|", part(README, "settings"), re.MULTILINE)
    assert shown == sorted(OFTEN_SET, key=shown.index)
    assert len(shown) == len(OFTEN_SET)


def test_every_provider_example_names_or_shows_its_profile() -> None:
    rows = re.findall(r"^\| ([\w. ]+) \| (`OPENAI_.*`) \|$", README, re.MULTILINE)
    assert len(rows) == 8
    for provider, lines in rows:
        expected = {"Azure OpenAI": "azure"}.get(provider, provider.lower())
        named = re.search(r"PROVIDER=([\w.]+)", lines)
        url = re.search(r"OPENAI_BASE_URL=([^`]+)", lines)
        assert (named[1] if named else detect_provider(url[1] if url else "https://api.openai.com/v1")) == expected


@pytest.mark.parametrize("page", [README, *DOCS.values()], ids=["README", *(path.stem for path in DOCS)])
def test_commands_are_run_by_ci_or_by_a_test(page: str) -> None:
    """Each line of a ``sh`` block stands, as it is, in the place that runs it; a ``console`` block needs more than
    this machine, such as a cluster.
    """
    lines = [
        line.split("  #")[0].strip()
        for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
        for line in block.splitlines()
    ]
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
    run = (ROOT / ".ci/run").read_text() + tests
    for line in lines:
        if line in ELSEWHERE:
            assert list((ROOT / "tests").rglob(f"{ELSEWHERE[line]}.py")), line
        else:
            assert line in run, line
