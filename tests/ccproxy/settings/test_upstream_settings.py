"""``UPSTREAM_<NAME>_*``, lists of models and pools of keys, from the real environment; every bad one by its line."""

from pathlib import Path
from typing import Any

import pytest

from ccproxy.settings import (
    ConfigurationError,
    Settings,
    given_variables,
    named_models,
    names_of,
    shown_value,
    startup_warnings,
)

SECRET = "planted-5EcReT"
URL = "https://llm.example/v1"
LOCAL = {"UPSTREAM_LOCAL_BASE_URL": URL, "UPSTREAM_LOCAL_API_KEY": "k"}
OTHERS = {"BIG_MODEL": "local:a", "SMALL_MODEL": "local:b"}


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)


def load(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], key: str | None = "sk-test") -> Settings:
    for name, value in {**({"OPENAI_API_KEY": key} if key else {}), **variables}.items():
        monkeypatch.setenv(name, value)
    return Settings.load()


def problems(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], key: str | None = "sk-test") -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(monkeypatch, variables, key)
    return list(caught.value.problems)


def test_all_fields_are_read_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        {
            "upstream_Az1_Base_Url": f"{URL}/",
            "UPSTREAM_AZ1_API_KEY": " one, two ,one",
            "UPSTREAM_AZ1_API": "Responses",
            "UPSTREAM_AZ1_PROVIDER": "azure",
            "UPSTREAM_AZ1_PROVIDER_OPTIONS": '{"vision": false}',
            "UPSTREAM_AZ1_AZURE_API_VERSION": "2024-10-21",
            "UPSTREAM_AZ1_HEADERS": '{"X-Team": "a"}',
            "UPSTREAM_AZ1_RPM": "60",
            "UPSTREAM_AZ1_TPM": "100000",
            "UPSTREAM_AZ1_CONCURRENCY": "4",
        },
    )
    (upstream,) = settings.upstreams.values()
    assert (upstream.name, upstream.base_url, upstream.key_texts) == ("az1", URL, ("one", "two"))
    assert (upstream.api, upstream.provider, upstream.provider_options) == ("responses", "azure", {"vision": False})
    assert (upstream.azure_api_version, upstream.headers) == ("2024-10-21", {"X-Team": "a"})
    assert (upstream.rpm, upstream.tpm, upstream.concurrency) == (60, 100_000, 4)
    assert settings.upstream("az1") is upstream
    assert settings.lookalikes == ()


def test_environment_wins_over_the_file_variable_by_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(f"UPSTREAM_LOCAL_BASE_URL={URL}\nUPSTREAM_LOCAL_API_KEY=file\n")
    settings = load(monkeypatch, {"UPSTREAM_LOCAL_API_KEY": "environment"})
    assert settings.upstreams["local"].key_texts == ("environment",)


@pytest.mark.parametrize(
    ("url", "more", "api"),
    [
        ("https://api.anthropic.com/v1", {}, "anthropic"),
        ("https://api.deepseek.com/anthropic/v1", {}, "anthropic"),
        ("https://api.anthropic.com/v1", {"PROVIDER": "generic"}, "auto"),
        ("https://api.anthropic.com/v1", {"API": "chat"}, "chat"),
        ("https://anthropic.example/v1", {}, "auto"),
        ("https://gateway.example/v1", {"API": "anthropic"}, "anthropic"),
    ],
)
def test_protocol_of_anthropic_is_told_by_the_url(
    monkeypatch: pytest.MonkeyPatch, url: str, more: dict[str, str], api: str
) -> None:
    given = {"BASE_URL": url, "API_KEY": "k", **more}
    settings = load(monkeypatch, {f"UPSTREAM_A_{end}": value for end, value in given.items()})
    assert settings.upstreams["a"].api == api


def test_client_is_the_credential_of_clients_for_anthropic(monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = load(
        monkeypatch, {"UPSTREAM_A_BASE_URL": "https://api.anthropic.com/v1", "UPSTREAM_A_API_KEY": "Client"}
    ).upstreams["a"]
    assert (upstream.client_credential, upstream.key_texts) == (True, ())


BAD: list[tuple[dict[str, str], str, str]] = [  # further variables, the line's beginning, what it contains
    ({"UPSTREAM_LOCAL_BASE_URL": "llm.example"}, "UPSTREAM_LOCAL_BASE_URL: given 'llm.example'", "http:// or https://"),
    ({"UPSTREAM_LOCAL_BASE_URL": f"https://u:{SECRET}@h"}, "UPSTREAM_LOCAL_BASE_URL: given 'https://****@h'", "a key"),
    ({"UPSTREAM_LOCAL_API_KEY": f"{SECRET}\u20ac"}, "UPSTREAM_LOCAL_API_KEY: given ****", "printable ASCII"),
    ({"UPSTREAM_LOCAL_API_KEY": " , "}, "UPSTREAM_LOCAL_API_KEY: given ****; it is empty", "client"),
    ({"UPSTREAM_LOCAL_API_KEY": "client"}, "UPSTREAM_LOCAL_API_KEY: given client", "UPSTREAM_LOCAL_API=anthropic"),
    ({"UPSTREAM_LOCAL_API_KEY": "client,k"}, "UPSTREAM_LOCAL_API_KEY: given ****", "client stands alone"),
    ({"UPSTREAM_LOCAL_API": "grpc"}, "UPSTREAM_LOCAL_API: given 'grpc'", "there are auto, chat, responses, anthropic"),
    ({"UPSTREAM_LOCAL_PROVIDER": "nobody"}, "UPSTREAM_LOCAL_PROVIDER: given 'nobody'", "there are generic, openai"),
    ({"UPSTREAM_LOCAL_PROVIDER_OPTIONS": "{"}, "UPSTREAM_LOCAL_PROVIDER_OPTIONS: given ****", "it is no JSON"),
    ({"UPSTREAM_LOCAL_PROVIDER_OPTIONS": '{"visoin": 1}'}, "UPSTREAM_LOCAL_PROVIDER_OPTIONS: given ****", "there are"),
    (
        {"UPSTREAM_LOCAL_API": "chat", "UPSTREAM_LOCAL_PROVIDER_OPTIONS": '{"api": "responses"}'},
        "UPSTREAM_LOCAL_API: given 'chat'", "UPSTREAM_LOCAL_PROVIDER_OPTIONS has api 'responses'",
    ),
    ({"UPSTREAM_LOCAL_AZURE_API_VERSION": "a b"}, "UPSTREAM_LOCAL_AZURE_API_VERSION: given 'a b'", "2024-10-21"),
    ({"UPSTREAM_LOCAL_AZURE_API_VERSION": "2024-10"}, "UPSTREAM_LOCAL_AZURE_API_VERSION: given '2024-10'", "preview"),
    ({"UPSTREAM_LOCAL_HEADERS": f"X: {SECRET}"}, "UPSTREAM_LOCAL_HEADERS: given ****; it is no JSON", "JSON object"),
    ({"UPSTREAM_LOCAL_HEADERS": '{"X": 1}'}, "UPSTREAM_LOCAL_HEADERS: given ****; the value of X is no text", "JSON"),
    ({"UPSTREAM_LOCAL_HEADERS": '{"Connection": "x"}'}, "UPSTREAM_LOCAL_HEADERS: given ****; Connection", "client"),
    ({"UPSTREAM_LOCAL_RPM": "0"}, "UPSTREAM_LOCAL_RPM: given '0'", "a whole number of at least 1"),
    ({"UPSTREAM_LOCAL_TPM": "many"}, "UPSTREAM_LOCAL_TPM: given 'many'", "a whole number of at least 1"),
    ({"UPSTREAM_LOCAL_CONCURRENCY": "1.5"}, "UPSTREAM_LOCAL_CONCURRENCY: given '1.5'", "a whole number of at least 1"),
    ({"UPSTREAM_LOCAL_TIMEOUT": "5"}, "UPSTREAM_LOCAL_TIMEOUT: not a setting of an upstream", "_BASE_URL, _API_KEY"),
    (
        {"UPSTREAM_MY_GPU_BASE_URL": URL},
        "UPSTREAM_MY_GPU_BASE_URL: a name is letters and digits", "accepted: UPSTREAM_MYGPU_BASE_URL",
    ),
    ({"UPSTREAM_DEFAULT_BASE_URL": URL}, "UPSTREAM_DEFAULT_BASE_URL: default is the upstream", "OPENAI_BASE_URL"),
    ({"UPSTREAM_DEFAULT_RPM": "5"}, "UPSTREAM_DEFAULT_RPM: default is the upstream", "accepted: OPENAI_RPM"),
    ({"UPSTREAM_B_BASE_URL": URL}, "UPSTREAM_B_API_KEY: not set; any text will do for a local server", "accepted"),
    ({"UPSTREAM_B_API_KEY": "k"}, "UPSTREAM_B_BASE_URL: not set; UPSTREAM_B_API_KEY needs it", "http://"),
]  # fmt: skip


@pytest.mark.parametrize(("variables", "start", "part"), BAD)
def test_one_line_that_names_the_variable_when_an_upstream_is_bad(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], start: str, part: str
) -> None:
    (line,) = problems(monkeypatch, {**LOCAL, **variables})
    assert line.startswith(start)
    assert part in line
    assert SECRET not in line


def test_variables_of_other_programs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = {"UPSTREAM_HOST": "a", "UPSTREAM_SERVER_NAME": "b", "UPSTREAM": "c", "UPSTREAM_": "d"}
    settings = load(monkeypatch, foreign)
    assert (settings.upstreams, settings.lookalikes) == ({}, ())


def test_warning_for_what_is_nearly_an_upstreams_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, {"UPSTREAM_LOCAL_BASEURL": URL}).lookalikes == (
        "UPSTREAM_LOCAL_BASEURL is set, but is not a setting. Did you mean UPSTREAM_LOCAL_BASE_URL?",
    )


@pytest.mark.parametrize(
    ("text", "models"),
    [
        ("a", ("a",)),
        (" a , LOCAL:b,llama3.1:70b", ("a", "LOCAL:b", "llama3.1:70b")),
    ],
)
@pytest.mark.parametrize("variable", ["BIG_MODEL", "MIDDLE_MODEL", "SMALL_MODEL", "CLASSIFIER_MODEL", "BOOST_MODEL"])
def test_list_of_models_is_its_first_model_with_the_others_behind(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, models: tuple[str, ...]
) -> None:
    value = getattr(load(monkeypatch, {**LOCAL, variable: text}), variable.lower())
    assert value == models[0]
    assert names_of(value) == models


def test_middle_models_are_the_big_ones_where_none_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, {"BIG_MODEL": "a,b"})
    assert names_of(settings.middle_model) == ("a", "b")


def test_key_of_the_default_upstream_is_not_needed_where_no_model_is_its(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, {**LOCAL, **OTHERS}, key=None)
    assert settings.has_default is False
    assert [(str(named), named.places) for named in named_models(settings)] == [
        ("local:a", ("BIG_MODEL", "MIDDLE_MODEL")),
        ("local:b", ("SMALL_MODEL",)),
    ]


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"BIG_MODEL": "local:a"}, "SMALL_MODEL gpt-4o-mini is asked of the default upstream"),
        ({**OTHERS, "BIG_MODEL": "local:a,gpt-5"}, "BIG_MODEL, MIDDLE_MODEL gpt-5 is asked of"),
        ({**OTHERS, "SMALL_MODEL": "llama3.1:70b"}, "SMALL_MODEL llama3.1:70b is asked of"),
        ({**OTHERS, "CLASSIFIER_MODEL": "Default:judge"}, "CLASSIFIER_MODEL judge is asked of"),
        ({**OTHERS, "SAFEGUARDS_MODEL": "judge"}, "SAFEGUARDS_MODEL judge is asked of"),
        ({**OTHERS, "ENABLE_BOOST_SUPPORT": "BIG_MODEL", "BOOST_MODEL": "default:o3"}, "BOOST_MODEL o3 is asked of"),
        ({**OTHERS, "ROUTES_FILE": "routes.toml"}, "the rule 1 gpt-4o is asked of"),
    ],
)
def test_key_of_the_default_upstream_is_needed_where_a_model_is_its(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], why: str
) -> None:
    Path("routes.toml").write_text('[[route]]\nwhen = { images = true }\nmodels = ["default:gpt-4o"]\n')
    (line,) = problems(monkeypatch, {**LOCAL, **variables}, key=None)
    assert line.startswith(f"OPENAI_API_KEY: not set; {why}")


def test_planner_of_an_upstream_needs_no_base_url_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    boost = {"ENABLE_BOOST_SUPPORT": "BIG_MODEL", "BOOST_MODEL": "local:o3"}
    assert load(monkeypatch, {**LOCAL, **boost}).boost_base_url is None
    lines = problems(monkeypatch, {"BOOST_MODEL": "local:o3,o4"})
    assert [line.split(";")[0] for line in lines] == ["BOOST_BASE_URL: not set", "BOOST_API_KEY: not set"]
    assert "or NAME:model in BOOST_MODEL" in lines[0]


def test_pool_of_the_default_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, {"OPENAI_RPM": "60"}, key="one, two")
    default = settings.upstream("default")
    assert (default.key_texts, default.rpm, default.base_url) == (("one", "two"), 60, "https://api.openai.com/v1")


def test_secrets_of_all_upstreams_are_known_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        **LOCAL,
        "UPSTREAM_LOCAL_API_KEY": f"{SECRET}1,{SECRET}2",
        "UPSTREAM_LOCAL_HEADERS": f'{{"X-Key": "{SECRET}3"}}',
        "STATE_URL": f"redis://:{SECRET}4@host/0",
    }
    settings = load(monkeypatch, variables, key=f"{SECRET}5,{SECRET}6")
    assert {f"{SECRET}{n}" for n in (1, 2, 3, 5, 6)} < set(settings.secrets())
    shown = [repr(settings), str(settings.upstreams), *map(str, startup_warnings(settings))]
    given = given_variables([], variables)
    assert set(given) == set(variables)
    shown += [shown_value(name, value) for name, (value, _) in given.items()]
    assert SECRET not in "".join(shown)


@pytest.mark.parametrize(
    ("variables", "warning"),
    [
        ({**LOCAL, "CCPROXY_LAYERS": "auth,model_mapping,format_conversion"}, "UPSTREAM_* is set, but CCPROXY_LAYERS"),
        ({"BIG_MODEL": "a,b", "CCPROXY_LAYERS": "auth,model_mapping,format_conversion"}, "BIG_MODEL is set, but"),
        ({**LOCAL, "CCPROXY_LAYERS": "auth,routing,model_mapping,format_conversion"}, "model_mapping inside routing"),
        ({**LOCAL, "UPSTREAM_LOCAL_BASE_URL": f"{URL}/messages"}, "UPSTREAM_LOCAL_BASE_URL ends in /messages"),
        (LOCAL, ""),
    ],
)
def test_warning_where_upstreams_are_not_used_as_they_are_meant(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], warning: str
) -> None:
    lines = startup_warnings(load(monkeypatch, variables), "127.0.0.1")
    assert len(lines) == bool(warning)
    assert warning in "".join(lines)


def test_upstreams_as_an_argument() -> None:
    values: dict[str, Any] = {"base_url": URL, "api_key": ["one", "two"], "headers": {"X": "y"}, "rpm": 3}
    settings = Settings.explicit(openai_api_key="k", upstreams={"LOCAL": values})
    assert (settings.upstreams["local"].key_texts, settings.upstreams["local"].rpm) == (("one", "two"), 3)
    again = Settings.explicit(openai_api_key="k", upstreams=settings.upstreams)
    assert again.upstreams == settings.upstreams
    with pytest.raises(ConfigurationError, match="UPSTREAM_A-B_"):
        Settings.explicit(openai_api_key="k", upstreams={"a-b": values})
