"""docs/routing.md: each recipe can be loaded, and cc-boost route says of it what the page shows."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from ccproxy import Settings
from ccproxy.settings import ConfigurationError
from ccproxy.settings.routes_file import parse_routes
from ccproxy_middleware.routing.rules import _KINDS
from support.paths import ROOT
from support.serving.process import BIN

PAGE = (ROOT / "docs/routing.md").read_text()
RECIPES = re.findall(r"^### (.*?)\n(.*?)(?=^##)", PAGE, re.DOTALL | re.MULTILINE)


def block(text: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return found[1] if found else ""


def lay_out(folder: Path, text: str) -> None:
    (folder / ".env").write_text(block(text, "ini"))
    (folder / "routes.toml").write_text(block(text, "toml"))
    (folder / "request.json").write_text(block(PAGE, "json"))


@pytest.mark.parametrize(("title", "text"), RECIPES, ids=[title for title, _ in RECIPES])
def test_recipe_does_what_the_page_shows(title: str, text: str, tmp_path: Path) -> None:
    lay_out(tmp_path, text)
    found = re.search(r"```console\n\$ (cc-boost route .*?)\n(.*?)```", text, re.DOTALL)
    assert found
    arguments, output = shlex.split(found[1]), found[2]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [BIN / arguments[0], *arguments[1:]], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (output, "")


def test_there_are_five_recipes() -> None:
    assert len(RECIPES) == 5


def test_first_example_is_one_of_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path, PAGE + "\nROUTES_FILE=routes.toml")
    (tmp_path / "own.env").write_text(block(PAGE, "ini") + "ROUTES_FILE=routes.toml\n")
    settings = Settings.load("own.env")
    assert set(settings.upstreams) == {"gemini", "local"}
    assert [route.name for route in settings.routes] == ["explorers", "2"]


def test_mistake_is_told_as_the_page_says() -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_routes('[[route]]\nmodels = "m"\nwhen = { agent_types = ["Explore"] }\n', "routes.toml", ())
    assert f"\n{raised.value}\n" in PAGE


def test_every_condition_is_on_the_page() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ", PAGE, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named >= set(_KINDS)
