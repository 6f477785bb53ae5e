"""The README says what is true: its settings, its profiles, its commands and its code."""

import re
from pathlib import Path

import pytest

from ccproxy.settings import variables
from ccproxy_middleware.conversion.profiles import PROFILES, detect_provider

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def between(name: str) -> str:
    found = re.search(rf"<!-- {name} -->(.*)<!-- /{name} -->", README, re.DOTALL)
    assert found, f"the README has no part {name}"
    return found[1].strip()


def settings_table() -> str:
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    rows += [f"| `{name}` | {f'`{default}`' if default else ''} | {text} |" for name, default, text in variables()]
    return "\n".join(rows)


def test_settings_table_is_that_of_the_settings() -> None:
    assert between("settings") == settings_table()


def test_profiles_are_all_named() -> None:
    assert between("profiles") == ", ".join(f"`{name}`" for name in PROFILES)


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_example_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert callable(names["app"])


def test_every_provider_example_names_or_shows_its_profile() -> None:
    rows = re.findall(r"^\| ([\w. ]+) \| (`OPENAI_.*`) \|$", README, re.MULTILINE)
    assert len(rows) == 8
    for provider, lines in rows:
        expected = {"Azure OpenAI": "azure"}.get(provider, provider.lower())
        named = re.search(r"PROVIDER=([\w.]+)", lines)
        url = re.search(r"OPENAI_BASE_URL=([^`]+)", lines)
        assert (named[1] if named else detect_provider(url[1] if url else "https://api.openai.com/v1")) == expected


def test_commands_are_run_by_ci_or_by_a_test() -> None:
    """Each shell line of the README stands, as it is, in the place that runs it."""
    lines = [
        line.split("#")[0].strip()
        for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
        for line in block.splitlines()
    ]
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
    run = (ROOT / ".ci/run").read_text() + tests
    elsewhere = {
        "cp .env.example .env": "test_settings",
        "cc-boost": "test_cli",
        "ANTHROPIC_BASE_URL=http://localhost:8082 ANTHROPIC_API_KEY=any-text claude": "test_claude_code",
        "gunicorn -c gunicorn.conf.py asgi:app": "test_run",
    }
    for line in lines:
        if line in elsewhere:
            assert list((ROOT / "tests").rglob(f"{elsewhere[line]}*.py")), line
        else:
            assert line in run, line


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
