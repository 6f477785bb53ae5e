"""The file of rules: what is read, and that each mistake is told with its line."""

from pathlib import Path

import pytest

from ccproxy.settings import ConfigurationError, Settings, users_file
from ccproxy.settings.routes_file import parse_routes

UPSTREAMS = ("local", "gemini", "openai")

GOOD = """\
# Rules
[[route]]
when = { request_class = "subagent", agent_type = ["Explore"] }
models = ["local:qwen3-coder"]

[[route]]
name = "long"
models = "gemini:gemini-2.5-pro, default:gpt-4o"
when.input_tokens_over = 180_000

[[route]]
models = [
  "OPENAI:gpt-5.5",
  "llama3.1:70b",  # one model, with a colon
]
[route.when]
images = true
hour = [22, 6]
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        parse_routes(text, "routes.toml", UPSTREAMS)
    return list(raised.value.problems)


@pytest.mark.parametrize("text", [GOOD, GOOD.replace("\n", "\r\n")], ids=["lf", "crlf"])
def test_rules_are_read_in_order(text: str) -> None:
    explore, long, images = parse_routes(text, "routes.toml", UPSTREAMS)
    assert dict(explore.conditions) == {"request_class": ("subagent",), "agent_type": ("Explore",)}
    assert explore.models == ("local:qwen3-coder",)
    assert (explore.name, long.name, images.name) == ("1", "long", "3")
    assert dict(long.conditions) == {"input_tokens_over": 180_000}
    assert long.models == ("gemini:gemini-2.5-pro", "default:gpt-4o")
    assert dict(images.conditions) == {"images": True, "hour": (22, 6)}
    assert images.models == ("OPENAI:gpt-5.5", "llama3.1:70b")


def test_empty_file_has_no_rules() -> None:
    assert parse_routes("# nothing yet\n", "routes.toml", ()) == ()


RULE = '[[route]]\nmodels = ["m"]\n'
BAD: list[tuple[str, list[str]]] = [
    ("[[route]\n", ["line 1: Expected ']]' at the end of an array declaration"]),
    (RULE + "when = { images = yes }\n", ["line 3: Invalid value"]),
    (RULE + 'when = { images = "', ["line 3: "]),
    ('[[route]]\nmodels = ["m"]\nmodels = ["n"]\n', ["line 3: Cannot overwrite a value"]),
    ('[[routes]]\nmodels = ["m"]\n', ["line 1: routes: there is no such key. Do you mean route?"]),
    ("# x\n\ncolour = 1\n" + RULE, ["line 3: colour: there is no such key; a rule begins with [[route]]"]),
    ('# x\n[route]\nmodels = ["m"]\n', ["line 2: route: a rule begins with [[route]]"]),
    ("\nroute = [1]\n", ["line 2: route: a rule begins with [[route]]"]),
    ("\n[[route]]\nwhen = {}\n", ["line 2: models: a rule needs it"]),
    (RULE + 'model = "x"\n', ["line 3: model: there is no such key. Do you mean models?"]),
    (RULE + "priority = 1\n", ["line 3: priority: there is no such key; a rule has when, models, name"]),
    (RULE + 'when = "subagent"\n', ["line 3: when: accepted: a table such as { images = true }"]),
    (RULE + "\n" + RULE + "when = { tire = 'big' }\n", ["line 6: when.tire: there is no such condition. Do you mean "]),
    (RULE + "when = { name = 'x' }\n", ["line 3: when.name: there is no such condition"]),
    (RULE + "[route.when]\nimages = true\ndocuments = 1\n", ["line 5: when.documents: given 1; accepted: true or"]),
    (RULE + "when.hour = [1, 1]\n", ["line 3: when.hour: given [1, 1]"]),
    ("[[route]]\nmodels = []\n", ["line 2: models: given []"]),
    ("[[route]]\nmodels = [3]\n", ["line 2: models: given 3"]),
    ('[[route]]\nmodels = [\n "a",\n "gemni:gemini-2.5-pro",\n]\n', [
        "line 4: models: there is no upstream 'gemni'. Do you mean gemini:gemini-2.5-pro? "
        "A model of this name is default:gemni:gemini-2.5-pro"
    ]),
    ('[[route]]\nmodels = "mistral:mistral-large"\n', [
        "line 2: models: there is no upstream 'mistral'. Set UPSTREAM_MISTRAL_BASE_URL."
    ]),
    ('[[route]]\nmodels = ["local:"]\n', ["line 2: models: 'local:' names no model"]),
    (RULE + 'name = "a b"\n', ["line 3: name: given 'a b'"]),
    (RULE + 'name = ""\n', ["line 3: name: given ' '"]),
    (RULE + 'name = "x"\n' + RULE + 'name = "x"\n', ["line 6: name: two rules are called 'x'"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), BAD, ids=lambda case: repr(case)[:70])
def test_mistake_is_told_with_its_line(text: str, expected: list[str]) -> None:
    found = problems(text)
    assert len(found) == len(expected), found
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(f"routes.toml, {start}"), line


def test_all_mistakes_are_told_at_once() -> None:
    found = problems(
        RULE
        + "when = { tire = 1, images = 3 }  # images = 4\n"
        + "[[route]]\nmodels = '''\nhour = 3\n'''\nname='n'\nwhen.hour = 'x'\n"
        + RULE.replace("[[route]]", "[[ route ]]")
        + "# effort = 3\nwhen.effort = 3\n"
    )
    assert [line.split(": ")[0] for line in found] == [f"routes.toml, line {number}" for number in (3, 9, 13)]
    assert "when.tire" in found[0]
    assert "; when.images" in found[0]


def test_model_with_a_colon_of_its_own_is_one_model() -> None:
    for model in ("llama3.1:70b", "qwen3:8b", "mistral:latest", "hf.co/bartowski/x:Q4_K_M", "default:mistral:mistral"):
        (route,) = parse_routes(f'[[route]]\nmodels = ["{model}"]\n', "routes.toml", UPSTREAMS)
        assert route.models == (model,)


KEYS = {"openai_api_key": "k", "anthropic_api_key": "c"}
LOCAL = {"local": {"base_url": "http://localhost:8000/v1", "api_key": "k"}}


def test_file_that_cant_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"^ROUTES_FILE: given 'none\.toml'; it can't be read: No such file"):
        Settings.explicit(**KEYS, routes_file="none.toml")
    (tmp_path / "latin").write_bytes(b"# \xe9\n")
    with pytest.raises(ConfigurationError, match=r"it is no UTF-8 text"):
        Settings.explicit(**KEYS, routes_file=str(tmp_path / "latin"))


def test_settings_have_the_rules_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "routes.toml"
    path.write_bytes(b'\xef\xbb\xbf[[route]]\nmodels = ["local:qwen3"]\nwhen = { tier = "small" }\n')
    settings = Settings.explicit(**KEYS, upstreams=LOCAL, routes_file=str(path))
    assert [route.models for route in settings.routes] == [("local:qwen3",)]
    assert settings.routes_file == str(path)
    assert Settings.explicit(**KEYS).routes == ()


def test_mistake_in_the_file_is_one_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("routes.toml").write_text('[[route]]\nmodels = ["loca:qwen3"]\n')
    Path("own.env").write_text("OPENAI_API_KEY=k\nROUTES_FILE=routes.toml\nUPSTREAM_LOCAL_API_KEY=k\n")
    monkeypatch.setenv("UPSTREAM_LOCAL_BASE_URL", "http://localhost:8000/v1")
    with pytest.raises(ConfigurationError, match=r"^routes\.toml, line 2: models: there is no upstream 'loca'"):
        Settings.load("own.env")


def test_name_of_the_file_may_be_relative_to_the_users_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    users_file().parent.mkdir(parents=True)
    users_file().write_text("OPENAI_API_KEY=k\nROUTES_FILE=routes.toml\n")
    (users_file().parent / "routes.toml").write_text('[[route]]\nmodels = ["of the user"]\n')
    assert Settings.load().routes[0].models == ("of the user",)
    Path("routes.toml").write_text('[[route]]\nmodels = ["of the folder"]\n')
    assert Settings.load().routes[0].models == ("of the folder",)


def test_default_upstream_needs_a_key_if_a_rule_names_it(tmp_path: Path) -> None:
    path = tmp_path / "routes.toml"
    path.write_text('[[route]]\nmodels = ["local:qwen3", "gpt-4o"]\n')
    given = {"upstreams": LOCAL, "routes_file": str(path), "big_model": "local:a", "small_model": "local:b"}
    with pytest.raises(
        ConfigurationError, match=r"^OPENAI_API_KEY: not set; .*gpt-4o is asked of the default upstream"
    ):
        Settings.explicit(**given)
    path.write_text('[[route]]\nmodels = ["local:qwen3"]\n')
    assert Settings.explicit(**given).routes
