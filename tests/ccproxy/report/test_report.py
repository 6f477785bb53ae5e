"""``cc-boost report`` in front of a real proxy: what is in it, and above all what is not."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ccproxy.report import run_report
from support.providers.scripted import Failure, Reply, ScriptedProvider, ToolCall
from support.serving.inspected import KEY, MESSAGE, STREAM, inspected
from support.serving.proxied import PROVIDER_KEY
from support.serving.servers import serve

CLIENT_KEY = KEY
PLANTED = "planted-5EcReT-text"


class Report(NamedTuple):
    code: int
    text: str
    sections: dict[str, Any]
    errors: str


Write = Callable[..., Report]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Write:
    """Write a report in an empty directory, with these variables."""
    monkeypatch.chdir(tmp_path)

    def write(url: str = "http://127.0.0.1:9", *, doctor: bool = False, **variables: str) -> Report:
        known = {"OPENAI_API_KEY": PROVIDER_KEY, "ANTHROPIC_API_KEY": CLIENT_KEY, "HOME": str(tmp_path), **variables}
        with monkeypatch.context() as patch:
            for name, value in known.items():
                patch.setenv(name, value)
            code = run_report(url=url, doctor=doctor)
        shown = capsys.readouterr()
        found = re.findall(r"^## ([^\n]*)\n\n```json\n(.*?)\n```$", shown.out, re.MULTILINE | re.DOTALL)
        for secret in (PROVIDER_KEY, CLIENT_KEY, json.dumps(CLIENT_KEY)[1:-1], PLANTED, str(tmp_path)):
            assert secret not in shown.out + shown.err
        return Report(code, shown.out, {title: json.loads(body) for title, body in found}, shown.err)

    return write


def test_exchanges_of_the_running_proxy_are_shapes(write: Write) -> None:
    replies = iter(
        (Reply([PLANTED, PLANTED]), Reply(tool_calls=[ToolCall("Bash", {PLANTED: PLANTED})]), Failure(400, {}))
    )
    with inspected(ScriptedProvider(lambda body: next(replies), api_key=PROVIDER_KEY)) as inspector:
        text = {"role": "user", "content": PLANTED}
        inspector.ask({**STREAM, "messages": [text], "system": PLANTED, "metadata": {"user_id": PLANTED}})
        inspector.ask({**MESSAGE, "messages": [text], "tools": [{"name": "Bash", "input_schema": {"type": "object"}}]})
        inspector.ask({**MESSAGE, "messages": [text]}, **{"x-planted": PLANTED})
        inspector.listed()
        report = write(inspector.url)
    proxy = report.sections["Running proxy"]
    assert (report.code, proxy["answers"], len(proxy["exchanges"])) == (0, True, 3)
    streamed, called, failed = proxy["exchanges"]
    client, provider = streamed["calls"]
    assert client["request"]["body"]["messages"] == [{"role": "user", "content": f"<{len(PLANTED)} characters>"}]
    assert provider["request"]["body"]["messages"][0]["role"] == "system"
    assert {"times": 2, "each": {"json": {}}}.keys() <= provider["answer"]["events"][1].keys()
    assert called["calls"][0]["answer"]["body"]["stop_reason"] == "tool_use"
    assert (failed["state"], failed["status"]) == ("failed", 400)


def test_report_says_why_there_are_no_exchanges(write: Write) -> None:
    with inspected(ScriptedProvider(api_key=PROVIDER_KEY), inspector=False) as inspector:
        off = write(inspector.url).sections["Running proxy"]
    with inspected(ScriptedProvider(api_key=PROVIDER_KEY)) as inspector:
        refused = write(inspector.url, ANTHROPIC_API_KEY="another-key").sections["Running proxy"]
    with serve(ScriptedProvider(), lifespan="off") as server:
        other = write(server.url).sections["Running proxy"]
    down = write().sections["Running proxy"]
    assert "INSPECTOR=true" in off["reason"]
    assert "does not accept the key" in refused["reason"]
    assert (other["answers"], other["reason"]) == (False, "another program answers at this address")
    assert (down["answers"], "is cc-boost running" in down["reason"]) == (False, True)


def test_settings_are_shown_without_secrets(write: Write, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"CUSTOM_HEADER_X_TEAM={PLANTED}\nBIG_MODEL=qwen3\n")
    report = write(PROVIDER_OPTIONS=json.dumps({"extra_body": {"x": PROVIDER_KEY}}))
    settings = report.sections["Settings"]["settings"]
    assert settings["BIG_MODEL"] == {"value": "'qwen3'", "from": ".env"}
    assert settings["OPENAI_API_KEY"] == settings["CUSTOM_HEADER_X_TEAM"] | {"from": "the environment"}
    assert settings["OPENAI_API_KEY"]["value"] == "****"
    assert report.sections["Versions"]["packages"]["starlette"]
    assert "Read the report before you send it" in report.errors


def test_bad_settings_are_in_the_report(write: Write) -> None:
    report = write(PORT="x")
    assert report.code == 2
    assert report.sections.keys() == {"Versions", "Settings"}
    assert report.sections["Settings"]["problems"][0].startswith("PORT: given 'x'")


def test_doctor_is_in_the_report(write: Write) -> None:
    with serve(ScriptedProvider(api_key=PROVIDER_KEY), lifespan="off") as server:
        report = write(doctor=True, OPENAI_BASE_URL=f"{server.url}/v1", MAX_RETRIES="0")
    checks = {check["id"]: check["outcome"] for check in report.sections["Doctor"]["checks"]}
    assert (checks["reachable"], checks["key"]) == ("ok", "ok")
