"""CCPROXY_LAYERS and ``create_app(layers=...)``: the stack by name, in code, with a layer of one's own."""

import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.middleware import Middleware

from ccproxy import Settings, create_app
from ccproxy.settings.configuration import ConfigurationError
from ccproxy.settings.layer_names import LAYERS
from ccproxy.settings.startup import startup_warnings
from ccproxy_middleware import FormatConversionMiddleware, ModelMappingMiddleware
from support.providers.scripted import ScriptedProvider
from support.serving.proxied import proxied
from support.serving.servers import serve

MESSAGE = {"model": "claude-opus-4-8", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
BOOST = {"enable_boost_support": "BIG_MODEL", "boost_base_url": "http://localhost/v1", "boost_api_key": "k"}

OWN_LAYER = """
class Stamp:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            scope = {**scope, "ccproxy.custom_headers": [(b"x-stamp", b"yes")]}
        await self.app(scope, receive, send)

not_a_layer = 5
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_layers.py").write_text(OWN_LAYER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_layers", raising=False)
    return "own_layers"


def settings(**values: Any) -> Settings:
    return Settings.explicit(openai_api_key="k", **values)


def names(app: Any) -> list[str]:
    outermost = ("Boundary", "BodyMemoryMiddleware", "InspectorOff")  # which are no layers of CCPROXY_LAYERS
    return [layer.cls.__name__ for layer in app.user_middleware if layer.cls.__name__ not in outermost]


def test_default_is_the_canonical_stack() -> None:
    assert settings().ccproxy_layers == LAYERS
    assert names(create_app(settings(**BOOST))) == [
        "MetricsMiddleware", "LedgerMiddleware", "AuthMiddleware", "CustomHeadersMiddleware", "ModelMappingMiddleware",
        "BoostMiddleware", "PromptedToolsMiddleware", "FormatConversionMiddleware",
    ]  # fmt: skip


def test_layers_are_reordered_and_left_out_by_name() -> None:
    app = create_app(settings(ccproxy_layers="format_conversion, model_mapping"))
    assert names(app) == ["FormatConversionMiddleware", "ModelMappingMiddleware"]


def test_variable_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CCPROXY_LAYERS", "auth,format_conversion")
    assert Settings(openai_api_key="k").ccproxy_layers == ("auth", "format_conversion")


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        ("auth,teleport", "unknown layer 'teleport'; there are metrics, "),
        ("auth,auth", "the layer 'auth' stands there twice"),
        ("no_such_module:Layer", "the layer 'no_such_module:Layer' can't be imported"),
        ("own_layers:Missing", "the layer 'own_layers:Missing' can't be imported"),
        ("own_layers:not_a_layer", "'own_layers:not_a_layer' is no ASGI middleware"),
        ("own_layers:Stamp,own_layers:Stamp", "stands there twice"),
    ],
)
def test_layers_that_cannot_be_are_an_error_at_start(own_module: str, layers: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings(ccproxy_layers=layers)
    assert "CCPROXY_LAYERS" in str(refused.value)
    assert problem in str(refused.value)


def test_layer_of_ones_own_takes_part(own_module: str) -> None:
    provider = ScriptedProvider()
    with proxied(provider, ccproxy_layers="model_mapping,own_layers:Stamp,format_conversion") as url:
        assert httpx.post(f"{url}/v1/messages", json=MESSAGE).status_code == 200
        assert httpx.get(url).json()["layers"][1] == "Stamp"
    assert provider.requests[-1].headers["x-stamp"] == "yes"


def test_stack_is_put_together_in_code() -> None:
    provider = ScriptedProvider()
    layers = [Middleware(ModelMappingMiddleware, big="own", small="s"), Middleware(FormatConversionMiddleware)]
    with serve(provider, lifespan="off") as upstream:
        app = create_app(settings(openai_base_url=f"{upstream.url}/v1"), layers=layers)
        with serve(app) as server:
            assert httpx.post(f"{server.url}/v1/messages", json=MESSAGE).status_code == 200
            assert httpx.get(f"{server.url}/test-connection").json()["status"] == "ok"
    assert provider.completions[0]["model"] == "own"


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({"ccproxy_layers": "format_conversion", "anthropic_api_key": "k"}, "keys are not checked"),
        ({"ccproxy_layers": "format_conversion", "custom_headers": {"X-A": "b"}}, "they are not sent"),
        ({"ccproxy_layers": "format_conversion", **BOOST}, "nothing is boosted"),
        ({"ccproxy_layers": "format_conversion", "metrics": True}, "there is no /metrics"),
        ({"ccproxy_layers": "format_conversion"}, ""),
        ({"log_bodies": True, "log_level": "DEBUG"}, "the log contains the conversations"),
        ({"log_bodies": True}, "bodies are logged at DEBUG only"),
        ({"ccproxy_layers": "boost,auth,format_conversion", "anthropic_api_key": "k", **BOOST}, ""),
        (
            {"ccproxy_layers": "format_conversion,own_layers:Stamp,auth", "anthropic_api_key": "k"},
            "unless it keeps its app as self.app, format_conversion answers clients without a key",
        ),
        ({"ccproxy_layers": "own_layers:Stamp,format_conversion,auth", "anthropic_api_key": "k"}, ""),
        ({"ccproxy_layers": "auth,boost,format_conversion", **BOOST}, ""),
        ({"ccproxy_layers": "boost,auth,format_conversion"}, ""),
    ],
)
def test_warning_where_a_setting_has_no_layer(own_module: str, values: dict[str, Any], warning: str) -> None:
    lines = startup_warnings(settings(host="127.0.0.1", **values))
    assert len(lines) == bool(warning)
    assert warning in "".join(lines)
