"""Every setting through the real environment and through ``.env``, and every bad value by its line."""

from pathlib import Path
from typing import Any

import pytest

from ccproxy.settings.configuration import ConfigurationError
from ccproxy.settings.layer_names import LAYERS
from ccproxy.settings.listing import variables
from ccproxy.settings.settings import Settings
from ccproxy.settings.startup import startup_warnings
from support.paths import ROOT

SECRET = "planted-5EcReT"

DEFAULTS: dict[str, Any] = {
    "anthropic_api_key": None,
    "keys_file": None,
    "admin_api_key": None,
    "allowed_hosts": (),
    "openai_base_url": "https://api.openai.com/v1",
    "azure_api_version": None,
    "provider": "openai",
    "provider_options": {},
    "openai_rpm": None,
    "openai_tpm": None,
    "openai_concurrency": None,
    "big_model": "gpt-4o",
    "middle_model": "gpt-4o",
    "small_model": "gpt-4o-mini",
    "big_context": None,
    "middle_context": None,
    "small_context": None,
    "classifier_model": None,
    "safeguards_model": None,
    "vision_model": None,
    "safeguards_timeout": 20.0,
    "host": "0.0.0.0",
    "port": 8082,
    "log_level": "WARNING",
    "log_format": "auto",
    "log_bodies": False,
    "metrics": True,
    "inspector": False,
    "max_tokens_limit": 4096,
    "min_tokens_limit": None,
    "request_timeout": 90.0,
    "stream_idle_timeout": 600.0,
    "max_answer": 64,
    "max_retries": 2,
    "max_concurrency": 0,
    "max_connections_per_address": 0,
    "client_timeout": 60.0,
    "max_body_memory": 256,
    "shutdown_timeout": 120.0,
    "http_transport": "aiohttp",
    "ccproxy_layers": LAYERS,
    "web_search": None,
    "web_search_url": None,
    "web_search_key": None,
    "enable_boost_support": (),
    "boost_base_url": None,
    "boost_api_key": None,
    "boost_model": "gpt-4o",
    "boost_wrapper_template": None,
    "custom_headers": {},
    "routes_file": None,
    "queue_timeout": 60.0,
    "state_url": None,
    "ledger": None,
    "ledger_days": 90,
    "history": False,
    "history_days": 7,
    "history_bytes": 1_000_000_000,
    "prices_file": None,
    "upstreams": {},
}

GIVEN: list[tuple[str, str, str, Any]] = [
    ("OPENAI_BASE_URL", "http://localhost:11434/v1/", "openai_base_url", "http://localhost:11434/v1"),
    ("OPENAI_BASE_URL", "http://[::1]:8000", "openai_base_url", "http://[::1]:8000"),
    ("AZURE_API_VERSION", "2024-10-21", "azure_api_version", "2024-10-21"),
    ("AZURE_API_VERSION", "2025-04-01-preview", "azure_api_version", "2025-04-01-preview"),
    ("PROVIDER", "Groq", "provider", "groq"),
    ("PROVIDER_OPTIONS", '{"vision": false}', "provider_options", {"vision": False}),
    ("BIG_MODEL", "qwen3", "big_model", "qwen3"),
    ("BIG_MODEL", "qwen3", "middle_model", "qwen3"),
    ("MIDDLE_MODEL", " qwen3 ", "middle_model", "qwen3"),
    ("SMALL_MODEL", "qwen3", "small_model", "qwen3"),
    ("BIG_CONTEXT", "131072", "big_context", 131_072),
    ("MIDDLE_CONTEXT", "32768", "middle_context", 32_768),
    ("SMALL_CONTEXT", "1000000", "small_context", 1_000_000),
    ("CLASSIFIER_MODEL", "qwen3", "classifier_model", "qwen3"),
    ("SAFEGUARDS_MODEL", "qwen3", "safeguards_model", "qwen3"),
    ("VISION_MODEL", "qwen3-vl", "vision_model", "qwen3-vl"),
    ("SAFEGUARDS_TIMEOUT", "2.5", "safeguards_timeout", 2.5),
    ("HOST", "127.0.0.1", "host", "127.0.0.1"),
    ("ALLOWED_HOSTS", "a.example, [::1],*", "allowed_hosts", ("a.example", "[::1]", "*")),
    ("HOST", "[::1]", "host", "::1"),
    ("HOST", "::1", "host", "::1"),
    ("PORT", "9000", "port", 9000),
    ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
    ("LOG_FORMAT", "JSON", "log_format", "json"),
    ("LOG_BODIES", "true", "log_bodies", True),
    ("METRICS", "false", "metrics", False),
    ("INSPECTOR", "true", "inspector", True),
    ("MAX_TOKENS_LIMIT", "64000", "max_tokens_limit", 64000),
    ("MIN_TOKENS_LIMIT", "100", "min_tokens_limit", 100),
    ("REQUEST_TIMEOUT", "0.5", "request_timeout", 0.5),
    ("STREAM_IDLE_TIMEOUT", "0.5", "stream_idle_timeout", 0.5),
    ("MAX_ANSWER", "1", "max_answer", 1),
    ("MAX_RETRIES", "0", "max_retries", 0),
    ("MAX_CONCURRENCY", "100", "max_concurrency", 100),
    ("MAX_CONNECTIONS_PER_ADDRESS", "9", "max_connections_per_address", 9),
    ("CLIENT_TIMEOUT", "0.5", "client_timeout", 0.5),
    ("MAX_BODY_MEMORY", "0", "max_body_memory", 0),
    ("SHUTDOWN_TIMEOUT", "0", "shutdown_timeout", 0.0),
    ("SHUTDOWN_TIMEOUT", "1.5", "shutdown_timeout", 1.5),
    ("HTTP_TRANSPORT", "httpx", "http_transport", "httpx"),
    ("ENABLE_BOOST_SUPPORT", "NONE", "enable_boost_support", ()),
    ("ENABLE_BOOST_SUPPORT", "none", "enable_boost_support", ()),
    ("BOOST_BASE_URL", "https://boost.example/v1", "boost_base_url", "https://boost.example/v1"),
    ("BOOST_MODEL", "o3", "boost_model", "o3"),
    (
        "BOOST_WRAPPER_TEMPLATE",
        "Plan {user_request} {{}}",
        "boost_wrapper_template",
        "Plan {user_request} {{}}",
    ),
    ("CUSTOM_HEADER_X_API_KEY", "v", "custom_headers", {"X-API-KEY": "v"}),
    ("CUSTOM_HEADER_AUTHORIZATION", "Basic é", "custom_headers", {"AUTHORIZATION": "Basic é"}),
    ("CUSTOM_HEADER_USER_AGENT", "mine/1", "custom_headers", {"USER-AGENT": "mine/1"}),
]

ACCEPTED_URL = "an http:// or https:// URL"
BAD: list[tuple[str, str, str, str]] = [  # variable, value, the line's beginning, what it contains
    ("OPENAI_API_KEY", "", "OPENAI_API_KEY: not set; accepted: ", "printable ASCII"),
    ("OPENAI_API_KEY", f"{SECRET}\u20ac", "OPENAI_API_KEY: given ****; ", "printable ASCII"),
    ("OPENAI_API_KEY", f"{SECRET}\nx: y", "OPENAI_API_KEY: given ****; ", "printable ASCII"),
    ("OPENAI_API_KEY", "  ", "OPENAI_API_KEY: given ****; it is empty", "accepted"),
    ("ANTHROPIC_API_KEY", " , ", "ANTHROPIC_API_KEY: given ****; it is empty", "separated by commas"),
    ("ANTHROPIC_API_KEY", f"a,{SECRET}\u00e9", "ANTHROPIC_API_KEY: given ****", "separated by commas"),
    ("OPENAI_BASE_URL", "api.example.com/v1", "OPENAI_BASE_URL: given 'api.example.com/v1'", ACCEPTED_URL),
    ("OPENAI_BASE_URL", "localhost:11434", "OPENAI_BASE_URL: given 'localhost:11434'", ACCEPTED_URL),
    ("OPENAI_BASE_URL", "ftp://host", "OPENAI_BASE_URL: given 'ftp://host'", ACCEPTED_URL),
    ("OPENAI_BASE_URL", "https://", "OPENAI_BASE_URL: given 'https://'", ACCEPTED_URL),
    ("OPENAI_BASE_URL", "https://h:99999", "OPENAI_BASE_URL: given 'https://h:99999'", ACCEPTED_URL),
    ("OPENAI_BASE_URL", "https://[::1", "OPENAI_BASE_URL: given 'https://[::1'", ACCEPTED_URL),
    ("OPENAI_BASE_URL", "https://a b", "OPENAI_BASE_URL: given 'https://a b'", ACCEPTED_URL),
    ("OPENAI_BASE_URL", f"https://u:{SECRET}@h", "OPENAI_BASE_URL: given 'https://****@h'", ACCEPTED_URL),
    ("OPENAI_BASE_URL", f"u:{SECRET}@h", "OPENAI_BASE_URL: given '****@h'", ACCEPTED_URL),
    ("OPENAI_BASE_URL", "https://h/openai/deployments/d?api-version=1",
     "OPENAI_BASE_URL: given 'https://h/openai/deployments/d?****'; its api-version belongs", ACCEPTED_URL),
    ("OPENAI_BASE_URL", f"https://h?key={SECRET}", "OPENAI_BASE_URL: given 'https://h?****'", ACCEPTED_URL),
    ("AZURE_API_VERSION", "a b", "AZURE_API_VERSION: given 'a b'", "2024-10-21"),
    ("AZURE_API_VERSION", "preview", "AZURE_API_VERSION: given 'preview'", "2025-04-01-preview"),
    ("AZURE_API_VERSION", "2024-10-21-beta", "AZURE_API_VERSION: given '2024-10-21-beta'", "2024-10-21"),
    ("PROVIDER", "nobody", "PROVIDER: given 'nobody'", "there are generic, openai, azure"),
    ("PROVIDER_OPTIONS", "{", "PROVIDER_OPTIONS: given '{'; it is no JSON", "a JSON object"),
    ("PROVIDER_OPTIONS", "[1]", "PROVIDER_OPTIONS: given '[1]'", "a JSON object"),
    ("PROVIDER_OPTIONS", '{"visoin": 1}', "PROVIDER_OPTIONS: given '{\"visoin\": 1}'", "there are api, max_"),
    ("PROVIDER_OPTIONS", '{"top_k": 1}', "PROVIDER_OPTIONS: given '{\"top_k\": 1}'", "there are pass, drop"),
    ("BIG_MODEL", " ", "BIG_MODEL: given ' '", "a model"),
    ("HOST", "a b", "HOST: given 'a b'", "an address"),
    ("PORT", "0", "PORT: given '0'", "a whole number from 1 to 65535"),
    ("PORT", "65536", "PORT: given '65536'", "a whole number from 1 to 65535"),
    ("PORT", "http", "PORT: given 'http'", "a whole number from 1 to 65535"),
    ("LOG_LEVEL", "LOUD", "LOG_LEVEL: given 'LOUD'", "DEBUG, INFO, WARNING, ERROR, CRITICAL"),
    ("LOG_FORMAT", "xml", "LOG_FORMAT: given 'xml'", "auto, text or json"),
    ("LOG_BODIES", "perhaps", "LOG_BODIES: given 'perhaps'", "true or false"),
    ("METRICS", "perhaps", "METRICS: given 'perhaps'", "true or false"),
    ("MAX_TOKENS_LIMIT", "0", "MAX_TOKENS_LIMIT: given '0'", "at least 1"),
    ("MIN_TOKENS_LIMIT", "5000", "MIN_TOKENS_LIMIT: given '5000'; it is above", "from 1"),
    ("REQUEST_TIMEOUT", "0", "REQUEST_TIMEOUT: given '0'", "above 0"),
    ("STREAM_IDLE_TIMEOUT", "inf", "STREAM_IDLE_TIMEOUT: given 'inf'", "above 0"),
    ("MAX_ANSWER", "0", "MAX_ANSWER: given '0'", "at least 1"),
    ("REQUEST_TIMEOUT", "inf", "REQUEST_TIMEOUT: given 'inf'", "above 0"),
    ("REQUEST_TIMEOUT", "soon", "REQUEST_TIMEOUT: given 'soon'", "above 0"),
    ("MAX_RETRIES", "-1", "MAX_RETRIES: given '-1'", "at least 0"),
    ("OPENAI_RPM", "0", "OPENAI_RPM: given '0'", "at least 1"),
    ("QUEUE_TIMEOUT", "0", "QUEUE_TIMEOUT: given '0'", "above 0"),
    ("STATE_URL", f"http://u:{SECRET}@h", "STATE_URL: given ****; it begins otherwise", "redis://, rediss://"),
    ("BIG_MODEL", " , ", "BIG_MODEL: given ' , '; there is no model in it", "separated by commas"),
    ("MAX_CONCURRENCY", "-1", "MAX_CONCURRENCY: given '-1'", "at least 0"),
    ("MAX_CONCURRENCY", "some", "MAX_CONCURRENCY: given 'some'", "at least 0"),
    ("MAX_CONNECTIONS_PER_ADDRESS", "-1", "MAX_CONNECTIONS_PER_ADDRESS: given '-1'", "at least 0"),
    ("CLIENT_TIMEOUT", "0", "CLIENT_TIMEOUT: given '0'", "above 0"),
    ("MAX_BODY_MEMORY", "-1", "MAX_BODY_MEMORY: given '-1'", "at least 0"),
    ("SHUTDOWN_TIMEOUT", "-1", "SHUTDOWN_TIMEOUT: given '-1'", "at least 0"),
    ("SHUTDOWN_TIMEOUT", "inf", "SHUTDOWN_TIMEOUT: given 'inf'", "at least 0"),
    ("HTTP_TRANSPORT", "curl", "HTTP_TRANSPORT: given 'curl'", "aiohttp or httpx"),
    ("ENABLE_BOOST_SUPPORT", "HUGE_MODEL", "ENABLE_BOOST_SUPPORT: given 'HUGE_MODEL'", "MIDDLE_MODEL, "),
    ("BOOST_BASE_URL", "boost.example", "BOOST_BASE_URL: given 'boost.example'", ACCEPTED_URL),
    ("BOOST_API_KEY", f"{SECRET}\u20ac", "BOOST_API_KEY: given ****", "printable ASCII"),
    ("BOOST_WRAPPER_TEMPLATE", "a {b}", "BOOST_WRAPPER_TEMPLATE: given 'a {b}'", "unknown placeholder {b}"),
    ("BOOST_WRAPPER_TEMPLATE", "a { b", "BOOST_WRAPPER_TEMPLATE: given 'a { b'", "{tools_text}"),
    ("BOOST_WRAPPER_TEMPLATE", "none.txt", "BOOST_WRAPPER_TEMPLATE: given 'none.txt'", "no such file"),
    ("CUSTOM_HEADERS", f"{{'A': '{SECRET}'}}", "CUSTOM_HEADERS: given ****", "CUSTOM_HEADER_<NAME>=value"),
    ("CUSTOM_HEADER_", SECRET, "CUSTOM_HEADER_: given ****", "a header's name"),
    ("CUSTOM_HEADER_A:B", SECRET, "CUSTOM_HEADER_A:B: given ****", "a header's name"),
    ("CUSTOM_HEADER_CONTENT_LENGTH", "1", "CUSTOM_HEADER_CONTENT_LENGTH: given ****", "any header but"),
    ("CUSTOM_HEADER_TRANSFER_ENCODING", "x", "CUSTOM_HEADER_TRANSFER_ENCODING: given ****", "any header but"),
    ("CUSTOM_HEADER_CONNECTION", "x", "CUSTOM_HEADER_CONNECTION: given ****", "any header but"),
    ("CUSTOM_HEADER_X", f"{SECRET}\r\nA: b", "CUSTOM_HEADER_X: given ****", "latin-1 text on one line"),
    ("CUSTOM_HEADER_X", f"{SECRET}\nA: b", "CUSTOM_HEADER_X: given ****", "latin-1 text on one line"),
    ("CUSTOM_HEADER_X", f"{SECRET}\u20ac", "CUSTOM_HEADER_X: given ****", "latin-1 text on one line"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A scratch directory without ``.env``, and no variable of ours but the key."""
    for name, _, _ in variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.chdir(tmp_path)


def problems() -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert str(caught.value).splitlines() == list(caught.value.problems)
    return str(caught.value).splitlines()


def test_defaults_when_only_the_key_is_set() -> None:
    settings = Settings.load()
    assert settings.openai_api_key.get_secret_value() == "sk-test"
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS
    assert {"openai_api_key", *DEFAULTS} == set(Settings.model_fields)
    assert settings.client_keys == ()


@pytest.mark.parametrize(("variable", "text", "field", "value"), GIVEN)
def test_value_when_the_environment_gives_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: Any
) -> None:
    monkeypatch.setenv(variable, text)
    assert getattr(Settings(), field) == value


@pytest.mark.parametrize(("variable", "text", "field", "value"), GIVEN)
def test_value_when_the_file_gives_it(variable: str, text: str, field: str, value: Any) -> None:
    Path(".env").write_text(f"{variable}='{text}'\n", encoding="utf-8")
    assert getattr(Settings(), field) == value


@pytest.mark.parametrize("variable", [name for name, _, _ in variables() if name not in ("OPENAI_API_KEY",)])
def test_default_when_the_variable_is_empty(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable.replace("*", "X"), "")
    settings = Settings.load()
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(("variable", "text", "start", "part"), BAD)
def test_one_line_that_names_the_variable_when_a_value_is_bad(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, start: str, part: str
) -> None:
    monkeypatch.setenv(variable, text)
    (line,) = problems()
    assert line.startswith(start)
    assert part in line
    assert SECRET not in line


def test_a_line_for_each_when_several_are_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {
        "OPENAI_API_KEY": "",
        "PORT": "x",
        "CUSTOM_HEADER_": "x",
        "BIG_MODEL": " ",
    }.items():
        monkeypatch.setenv(variable, value)
    names = [line.partition(":")[0] for line in problems()]
    assert names == ["OPENAI_API_KEY", "BIG_MODEL", "PORT", "CUSTOM_HEADER_"]


def test_environment_wins_when_the_file_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("PORT=1111\nHOST=localhost\nCUSTOM_HEADER_A=file\nCUSTOM_HEADER_B=file\n")
    monkeypatch.setenv("PORT", "2222")
    monkeypatch.setenv("CUSTOM_HEADER_A", "environment")
    settings = Settings()
    assert (settings.port, settings.host) == (2222, "localhost")
    assert settings.custom_headers == {"A": "environment", "B": "file"}


def test_argument_wins_when_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "2222")
    monkeypatch.setenv("CUSTOM_HEADER_A", "environment")
    settings = Settings(port=3333, custom_headers={"X-B": "code"}, enable_boost_support=())
    assert (settings.port, settings.custom_headers) == (3333, {"X-B": "code"})


def test_nothing_else_counts_when_the_settings_are_explicit(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("HOST=localhost\nCUSTOM_HEADER_B=file\n")
    monkeypatch.setenv("PORT", "bad")
    settings = Settings.explicit(openai_api_key="x")
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS
    assert isinstance(settings, Settings)


def test_other_file_when_one_is_named(tmp_path: Path) -> None:
    Path(".env").write_text("PORT=1111\n")
    Path("other.env").write_text("SMALL_MODEL=tiny\n")
    settings = Settings.load("other.env")
    assert (settings.port, settings.small_model) == (8082, "tiny")
    with pytest.raises(ConfigurationError, match=r"--env-file: given 'missing\.env'; accepted: a file that exists"):
        Settings.load("missing.env")


def test_problem_when_the_file_is_no_text() -> None:
    Path(".env").write_bytes(b"PORT=\xff\xfe\n")
    assert problems() == [".env: can't be read; accepted: a UTF-8 text file"]


def test_type_error_when_an_argument_is_no_setting() -> None:
    with pytest.raises(TypeError, match="no such setting: prot"):
        Settings(prot=1)


def test_client_keys_when_several_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", " one, two ,,")
    assert Settings().client_keys == ("one", "two")


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://x.openai.azure.com/openai/v1", "azure"),
        ("http://localhost:11434/v1", "ollama"),
        ("https://example.com", "generic"),
    ],
)
def test_provider_when_the_base_url_tells(monkeypatch: pytest.MonkeyPatch, url: str, provider: str) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    assert Settings().provider == provider


def test_boost_needs_url_and_key_when_enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENABLE_BOOST_SUPPORT", "big_model, SMALL_MODEL,BIG_MODEL")
    url, key = problems()
    assert url.startswith("BOOST_BASE_URL: not set; ENABLE_BOOST_SUPPORT needs it; accepted: an http://")
    assert key.startswith("BOOST_API_KEY: not set; ENABLE_BOOST_SUPPORT needs it; accepted: a key")
    monkeypatch.setenv("BOOST_BASE_URL", "https://boost.example/v1")
    monkeypatch.setenv("BOOST_API_KEY", "k")
    assert Settings().enable_boost_support == ("BIG_MODEL", "SMALL_MODEL")


def test_template_is_read_when_it_is_a_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "template.txt"
    path.write_text("Ü {conversation}", encoding="utf-8")
    monkeypatch.setenv("BOOST_WRAPPER_TEMPLATE", str(path))
    assert Settings().boost_wrapper_template == "Ü {conversation}"


def test_template_is_text_when_it_is_too_long_for_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "plan " * 2000 + "{conversation}"
    monkeypatch.setenv("BOOST_WRAPPER_TEMPLATE", text)
    assert Settings().boost_wrapper_template == text


def test_no_secret_when_settings_are_shown() -> None:
    settings = Settings(
        openai_api_key=f"{SECRET}1",
        anthropic_api_key=f"{SECRET}2",
        boost_api_key=f"{SECRET}3",
        custom_headers={"X-KEY": f"{SECRET}4"},
        provider_options={"extra_body": {"key": f"{SECRET}5"}},
    )
    assert SECRET not in f"{settings!r} {settings} {startup_warnings(settings)}"


def test_no_secret_in_the_chain_when_settings_are_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings(openai_api_key=SECRET, port=0)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize(
    ("host", "keys", "warned"),
    [
        ("0.0.0.0", None, True),
        ("::", None, True),
        ("192.168.1.2", None, True),
        ("example.com", None, True),
        ("127.0.0.1", None, False),
        ("127.0.0.2", None, False),
        ("::1", None, False),
        ("[::1]", None, False),
        ("localhost", None, False),
        ("0.0.0.0", "key", False),
    ],
)
def test_warning_when_everybody_can_spend_the_key(host: str, keys: str | None, warned: bool) -> None:
    lines = startup_warnings(Settings(host=host, anthropic_api_key=keys))
    assert [line.startswith(f"Listening on {host} without ANTHROPIC_API_KEY") for line in lines] == [True] * warned


def test_warning_when_a_variable_is_nearly_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("OPENAI_BASEURL=https://example.com\nOPENAI_ORGANIZATION=x\n")
    monkeypatch.setenv("BIG_MODELS", "x")
    monkeypatch.setenv("HOST", "localhost")
    assert startup_warnings(Settings.load()) == [
        "BIG_MODELS is set, but is not a setting. Did you mean BIG_MODEL?",
        "OPENAI_BASEURL is set, but is not a setting. Did you mean OPENAI_BASE_URL?",
    ]


def test_example_file_names_every_variable_and_its_default() -> None:
    written = {}
    for line in (ROOT / ".env.example").read_text(encoding="utf-8").splitlines():
        name, equals, value = line.removeprefix("#").partition("=")
        if equals and name.isupper() and " " not in name:
            written[name] = value
    assert written.pop("CUSTOM_HEADER_X_API_KEY") == "value"
    assert written == {name: default for name, default, _ in variables() if name != "CUSTOM_HEADER_*"}


def test_example_file_works_when_the_key_is_filled_in() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    lines = [
        line.removeprefix("#") if line.startswith("#") and line[1:2].isupper() else line for line in text.splitlines()
    ]
    Path(".env").write_text("\n".join(lines), encoding="utf-8")
    settings = Settings.load()
    assert settings.custom_headers == {"X-API-KEY": "value"}
    assert {**{name: getattr(settings, name) for name in DEFAULTS}, "custom_headers": {}} == DEFAULTS
