"""``cc-boost claude`` and ``cc-boost env`` as processes, with a program that plays Claude Code."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest
from starlette.responses import JSONResponse

from ccproxy import Settings
from ccproxy.command_line.claude import (
    Models,
    child_environment,
    claude_variables,
    listed_models,
    set_models,
    with_project,
)
from ccproxy.model_limits import model_limits
from support.providers.scripted import Failure, Reply, ScriptedProvider
from support.serving.command import CommandLine, Done
from support.serving.proxied import PROVIDER_KEY, proxied
from support.serving.servers import serve

COMMAND = str(Path(sys.executable).parent / "cc-boost")
LIMIT = 60

FAKE = f"""#!{sys.executable}
import json, os, sys, urllib.request
arguments, settings = sys.argv[1:], None
if arguments[:1] == ["--settings"]:
    settings, arguments = json.load(open(arguments[1])), arguments[2:]
told = {{"arguments": arguments, "settings": settings, "environment": dict(os.environ), "directory": os.getcwd()}}
if not sys.stdin.isatty():
    told["input"] = sys.stdin.read()
if os.environ.get("FAKE_ASKS"):
    messages = [{{"role": "user", "content": "Hi"}}]
    body = json.dumps({{"model": "claude-haiku-4-5", "max_tokens": 50, "messages": messages}})
    for name, key in (("answer", os.environ["ANTHROPIC_AUTH_TOKEN"]), ("refused", "other-key")):
        request = urllib.request.Request(
            os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages",
            body.encode(),
            {{"authorization": "Bearer " + key, "content-type": "application/json"}},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
        try:
            told[name] = json.load(opener.open(request, timeout=20))
        except urllib.error.HTTPError as exc:
            told[name] = exc.code
print(json.dumps(told), flush=True)
print("told on standard error", file=sys.stderr)
sys.exit(int(os.environ.get("FAKE_CODE", "0")))
"""

WAITS = f"""#!{sys.executable}
import os, signal, sys, time
names = {{"SIGTERM": 21, "SIGINT": 23}}
for name, code in names.items():
    signal.signal(getattr(signal, name), lambda number, frame, code=code: sys.exit(code))
if os.environ.get("FAKE_DIES"):
    for name in names:
        signal.signal(getattr(signal, name), signal.SIG_DFL)
print("up", os.environ["ANTHROPIC_BASE_URL"], flush=True)
time.sleep({LIMIT})
"""

SUSPENDS = """#!{python}
import os, signal, sys, time
os.kill({who}, signal.SIGTSTP)
time.sleep(0.1)
sys.exit(5)
"""

Told: TypeAlias = dict[str, Any]
Run: TypeAlias = Callable[..., "Done"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the fake on its PATH, which is also the working directory."""
    install(tmp_path, FAKE)
    return tmp_path


def install(home: Path, script: str) -> None:
    directory = home / "bin"
    directory.mkdir(exist_ok=True)
    (directory / "claude").write_text(script)
    (directory / "claude").chmod(0o755)


def environment(home: Path, **variables: str) -> dict[str, str]:
    temporary = home / "tmp"
    temporary.mkdir(exist_ok=True)
    known = {"PATH": f"{home / 'bin'}:/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(temporary)}
    return known | {"OPENAI_API_KEY": PROVIDER_KEY, "OPENAI_BASE_URL": PROVIDER[0]} | variables


PROVIDER: list[str] = []


@pytest.fixture(autouse=True, scope="module")
def provider_that_is_there() -> Iterator[None]:
    """A provider that lists no models, for tests that need one to be up."""
    with serve(ScriptedProvider(), lifespan="off") as server:
        PROVIDER.append(f"{server.url}/v1")
        yield
    PROVIDER.clear()


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process, which is quick: its own child is a real one."""
    command_line = CommandLine(monkeypatch, capfd)

    def run(*arguments: str, **variables: str) -> Done:
        return command_line.run(*arguments, directory=home, environment=environment(home, **variables))

    return run


def told(done: "Done") -> Told:
    assert done.stdout, done.stderr
    result: Told = json.loads(done.stdout)
    return result


def test_arguments_input_directory_and_exit_code_pass(home: Path) -> None:
    command = [COMMAND, "claude", "-p", "say hi", "--model", "opus", "--", "--url", "x"]
    variables = environment(home, FAKE_CODE="7")
    done = subprocess.run(
        command, cwd=home, env=variables, input="from a pipe", capture_output=True, text=True, timeout=LIMIT
    )
    fake = told(Done(done.returncode, done.stdout, done.stderr))
    assert fake["arguments"] == ["-p", "say hi", "--model", "opus", "--", "--url", "x"]
    assert (fake["input"], fake["directory"]) == ("from a pipe", str(home))
    assert (done.stderr, done.returncode) == ("told on standard error\n", 7)


def test_project_is_told_by_a_header_beside_those_of_the_users_own(home: Path, run: Run) -> None:
    told_by_default = told(run("claude", "-p", "hi"))
    header = f"x-cc-boost-project: {home.name}"
    assert told_by_default["environment"]["ANTHROPIC_CUSTOM_HEADERS"] == header
    assert "ANTHROPIC_CUSTOM_HEADERS" not in told_by_default["settings"]["env"]  # there it would go over the user's
    own = told(run("claude", "-p", "hi", ANTHROPIC_CUSTOM_HEADERS="X-Team: a\n"))
    assert own["environment"]["ANTHROPIC_CUSTOM_HEADERS"] == f"X-Team: a\n{header}"
    named = "X-CC-Boost-Project: other"
    assert told(run("claude", ANTHROPIC_CUSTOM_HEADERS=named))["environment"]["ANTHROPIC_CUSTOM_HEADERS"] == named


@pytest.mark.parametrize(
    ("folder", "header"),
    [("shop", "shop"), ("my shop", "my shop"), ("Büro\n", "B%C3%BCro%0A"), ("50%", "50%25"), ("", None)],
)
def test_projects_name_is_fit_for_a_header(folder: str, header: str | None) -> None:
    headers = with_project({}, folder).get("ANTHROPIC_CUSTOM_HEADERS")
    assert headers == (None if header is None else f"x-cc-boost-project: {header}")


def test_ledgers_password_is_not_handed_on(run: Run) -> None:
    environment = told(run("claude", "-p", "hi", LEDGER=f"sqlite:///{os.devnull}x"))["environment"]
    assert "LEDGER" in environment
    assert "LEDGER" not in child_environment({"LEDGER": "postgresql://u:p@h/d"}, claude_variables("u", "k", Models()))


def test_own_options_stand_before_those_of_claude(home: Path, run: Run) -> None:
    log = home / "proxy.log"
    done = run("claude", "--proxy-log", str(log), "-c", "--verbose")
    assert told(done)["arguments"] == ["-c", "--verbose"]
    assert log.exists()


def test_everything_after_two_dashes_is_for_claude(run: Run) -> None:
    assert told(run("claude", "--", "--help"))["arguments"] == ["--help"]


def test_proxy_takes_only_the_key_of_the_run_and_ends_with_it(home: Path, run: Run) -> None:
    provider = ScriptedProvider([Reply("Hello.")], api_key=PROVIDER_KEY)
    with serve(provider, lifespan="off") as server:
        base_url = f"{server.url}/v1"
        done = run("claude", FAKE_ASKS="1", OPENAI_BASE_URL=base_url, SMALL_MODEL="small", ANTHROPIC_API_KEY="a,b")
    fake = told(done)
    assert fake["answer"]["content"] == [{"type": "text", "text": "Hello."}]
    assert fake["refused"] == 401
    [completion] = provider.completions
    assert completion["model"] == "small"
    key = fake["environment"]["ANTHROPIC_AUTH_TOKEN"]
    assert len(key) >= 40
    assert all(key.encode() not in request.raw and key not in str(request.headers) for request in provider.requests)
    with pytest.raises(httpx.ConnectError):
        httpx.get(fake["environment"]["ANTHROPIC_BASE_URL"], trust_env=False)
    assert told(run("claude"))["environment"]["ANTHROPIC_AUTH_TOKEN"] != key


def test_key_is_checked_when_the_layers_lack_auth(run: Run) -> None:
    done = run("claude", FAKE_ASKS="1", CCPROXY_LAYERS="model_mapping,format_conversion", MAX_RETRIES="0")
    assert told(done)["refused"] == 401


def test_models_behind_the_names_are_shown_and_bounded(run: Run) -> None:
    variables = told(run("claude", BIG_MODEL="gpt-4.1", MIDDLE_MODEL="gpt-4o", MAX_TOKENS_LIMIT="9000"))["environment"]
    assert variables["ANTHROPIC_DEFAULT_OPUS_MODEL"] == "claude-opus/gpt-4.1"
    assert variables["ANTHROPIC_DEFAULT_OPUS_MODEL_NAME"] == "gpt-4.1"
    assert variables["ANTHROPIC_DEFAULT_SONNET_MODEL_NAME"] == "gpt-4o"
    assert variables["ANTHROPIC_DEFAULT_HAIKU_MODEL_NAME"] == "gpt-4o-mini"
    assert variables["ANTHROPIC_SMALL_FAST_MODEL"] == variables["ANTHROPIC_DEFAULT_HAIKU_MODEL"]
    assert variables["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "128000"
    assert variables["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "9000"


ENTRIES: list[tuple[dict[str, Any], str, str | None]] = [  # the provider's own entry, the window, the longest answer
    ({"meta": {"n_ctx": 150_000, "n_ctx_train": 262_144}}, "150000", "4096"),
    ({"max_model_len": 32_768}, "32768", "4096"),
    ({"context_length": 262_144, "top_provider": {"max_completion_tokens": 32_000}}, "262144", "32000"),
    ({"context_window": 131_072, "max_completion_tokens": 131_072}, "131072", "32768"),  # leaves room for the prompt
]


@pytest.mark.parametrize(("entry", "window", "output"), ENTRIES)
@pytest.mark.parametrize("command", ["claude", "env"])
def test_limits_are_those_that_the_provider_tells(
    run: Run, command: str, entry: dict[str, Any], window: str, output: str
) -> None:
    with serve(json_answers({"/v1/models": {"data": [{"id": "local", **entry}]}}), lifespan="off") as server:
        done = run(command, OPENAI_BASE_URL=f"{server.url}/v1", BIG_MODEL="local", SMALL_MODEL="local")
    if command == "env":
        assert f"export CLAUDE_CODE_MAX_CONTEXT_TOKENS={window}\n" in done.stdout
        assert (
            "export CLAUDE_CODE_MAX_OUTPUT_TOKENS=4096\n" in done.stdout
        )  # the limit of the server, which asks nobody
        assert "export ANTHROPIC_DEFAULT_OPUS_MODEL=claude-opus/local\n" in done.stdout
    else:
        variables = told(done)["environment"]
        assert variables["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == window
        assert variables["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == output
        assert variables["ANTHROPIC_DEFAULT_OPUS_MODEL"] == "claude-opus/local"


@pytest.mark.parametrize(
    ("served", "window"),
    [
        ({"default_generation_settings": {"n_ctx": 16_384}}, "16384"),
        ({}, "262144"),
        (["odd"], "262144"),
        (None, "262144"),
    ],
)
def test_window_of_llama_cpp_is_the_one_that_it_serves(run: Run, served: Any, window: str) -> None:
    pages = {"/v1/models": {"data": [{"id": "local", "meta": {"n_ctx_train": 262_144}}]}}
    with serve(json_answers(pages | ({} if served is None else {"/props": served})), lifespan="off") as server:
        known = {"PROVIDER": "llama.cpp", "OPENAI_BASE_URL": f"{server.url}/v1"}
        variables = told(run("claude", **known, BIG_MODEL="local", SMALL_MODEL="local"))["environment"]
    assert variables["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == window


@pytest.mark.parametrize(
    ("answers", "window"),
    [
        ({"/api/ps": {"models": [{"name": "local", "context_length": 65_536}]}, "/api/show": {}}, "65536"),
        ({"/api/show": {"parameters": "top_k 40\nnum_ctx      40960", "model_info": {"a.context_length": 9}}}, "40960"),
        ({"/api/show": {"model_info": {"general.name": "q", "qwen3.context_length": 262_144}}}, "262144"),
        ({"/api/show": ["not", "an", "object"]}, None),
    ],
)
def test_window_is_the_one_that_ollama_tells_by_its_own_api(
    run: Run, answers: dict[str, Any], window: str | None
) -> None:
    with serve(json_answers(answers), lifespan="off") as server:
        known = {"PROVIDER": "ollama", "OPENAI_BASE_URL": f"{server.url}/v1"}
        variables = told(run("claude", **known, BIG_MODEL="local", SMALL_MODEL="local"))["environment"]
    assert variables.get("CLAUDE_CODE_MAX_CONTEXT_TOKENS") == window


@pytest.mark.parametrize(
    ("entry", "window"),
    [
        ({"loaded_context_length": 16_384, "max_context_length": 262_144}, "16384"),
        ({"max_context_length": 262_144}, "262144"),
        ({"max_context_length": "much"}, None),
    ],
)
def test_window_is_the_one_that_lm_studio_tells_by_its_own_api(
    run: Run, entry: dict[str, Any], window: str | None
) -> None:
    with serve(json_answers({"/api/v0/models": {"data": [{"id": "local", **entry}]}}), lifespan="off") as server:
        known = {"PROVIDER": "lmstudio", "OPENAI_BASE_URL": f"{server.url}/v1"}
        variables = told(run("claude", **known, BIG_MODEL="local", SMALL_MODEL="local"))["environment"]
    assert variables.get("CLAUDE_CODE_MAX_CONTEXT_TOKENS") == window


def test_window_that_is_set_goes_over_what_the_provider_tells(run: Run) -> None:
    with serve(json_answers({"/v1/models": {"data": [{"id": "b", "context_length": 9000}]}}), lifespan="off") as server:
        known = {"OPENAI_BASE_URL": f"{server.url}/v1", "BIG_MODEL": "b", "MIDDLE_MODEL": "m", "SMALL_MODEL": "s"}
        variables = told(run("claude", **known, BIG_CONTEXT="64000", MIDDLE_CONTEXT="48000"))["environment"]
        switch = told(run("claude", **known, PROVIDER_OPTIONS='{"context": 50000}'))["environment"]
    assert variables["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "48000"
    assert variables["ANTHROPIC_DEFAULT_SONNET_MODEL"] == "claude-sonnet/m"
    assert switch["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "50000"


def json_answers(answers: dict[str, Any]) -> Any:
    """A server with a JSON page at each of these paths."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        status = 200 if scope["path"] in answers else 404
        body = json.dumps(answers.get(scope["path"], {})).encode()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def test_exit_code_1_at_once_when_the_provider_can_not_be_reached(run: Run) -> None:
    done = run("claude", "-p", "hi", OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("The provider can't be reached: ")
    assert "OPENAI_BASE_URL=http://127.0.0.1:9/v1" in done.stderr


@pytest.mark.parametrize("arguments", [("--", "--version"), ("mcp", "list")])
def test_provider_is_not_asked_for_what_needs_none(run: Run, arguments: tuple[str, ...]) -> None:
    done = run("claude", *arguments, OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert told(done)["arguments"] == [argument for argument in arguments if argument != "--"]
    assert told(done)["settings"] is None


def test_log_is_told_only_when_claude_fails_and_something_was_logged(home: Path, run: Run) -> None:
    provider = ScriptedProvider(lambda body: Failure(401))
    with serve(provider, lifespan="off") as server:
        known = {"FAKE_ASKS": "1", "OPENAI_BASE_URL": f"{server.url}/v1", "LOG_LEVEL": "INFO"}
        failed = run("claude", FAKE_CODE="1", **known)
        assert told(failed)["answer"] == 502
        _, line = failed.stderr.splitlines()
        log = Path(line.removeprefix("cc-boost: the proxy's log is "))
        assert log.read_text()
        assert log.stat().st_mode & 0o077 == 0
        log.unlink()
        fine = run("claude", **known)
    assert fine.stderr == "told on standard error\n"
    assert list((home / "tmp").iterdir()) == []


def test_proxy_that_runs_is_used_with_its_own_key_when_its_url_is_given(run: Run) -> None:
    provider = ScriptedProvider([Reply("Hello.")])
    with proxied(provider, anthropic_api_key="team-key,other", big_model="gpt-4o", small_model="small") as url:
        done = run("claude", "--url", f"{url}/", FAKE_ASKS="1", ANTHROPIC_API_KEY="team-key")
        refused = run("claude", "--url", url, ANTHROPIC_API_KEY="wrong")
    fake = told(done)
    assert fake["answer"]["content"][0]["text"] == "Hello."
    assert fake["environment"]["ANTHROPIC_BASE_URL"] == url
    assert fake["environment"]["ANTHROPIC_AUTH_TOKEN"] == "team-key"
    assert fake["environment"]["ANTHROPIC_DEFAULT_HAIKU_MODEL_NAME"] == "small"
    assert "ANTHROPIC_API_KEY" not in fake["environment"]
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "does not accept the key" in refused.stderr


def test_exit_code_1_when_nothing_answers_at_the_url(run: Run) -> None:
    done = run("claude", "--url", "http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Nothing answers at http://127.0.0.1:9: ")


def test_exit_code_127_with_the_install_line_when_claude_is_missing(home: Path, run: Run) -> None:
    (home / "bin" / "claude").unlink()
    done = run("claude", PATH="/usr/bin:/bin")
    assert (done.returncode, done.stdout) == (127, "")
    assert "npm install -g @anthropic-ai/claude-code" in done.stderr


def test_program_is_found_where_its_installer_puts_it(home: Path, run: Run) -> None:
    local = home / ".local" / "bin"
    local.mkdir(parents=True)
    (home / "bin" / "claude").rename(local / "claude")
    assert told(run("claude", "x", PATH="/usr/bin:/bin"))["arguments"] == ["x"]


def test_exit_code_126_when_claude_can_not_be_run(home: Path, run: Run) -> None:
    install(home, "#!/no/such/interpreter\n")
    done = run("claude")
    assert done.returncode == 126
    assert "can't be run" in done.stderr


def test_exit_code_2_when_settings_are_bad(run: Run) -> None:
    done = run("claude", MAX_RETRIES="many")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("MAX_RETRIES: given 'many'")


LEFT_OVER = {
    "model": "glm-4.6",
    "env": {"ANTHROPIC_BASE_URL": "https://elsewhere.example", "ANTHROPIC_API_KEY": "sk-left", "FOO": "1"},
}


@pytest.mark.parametrize("file", [".claude/settings.json", ".claude/settings.local.json"])
def test_settings_of_another_gateway_are_named_and_overridden(home: Path, run: Run, file: str) -> None:
    (home / ".claude").mkdir()
    (home / file).write_text(json.dumps(LEFT_OVER))
    done = run("claude", "-c")
    settings = told(done)["settings"]
    variables = told(done)["environment"]
    assert settings["env"]["ANTHROPIC_BASE_URL"] == variables["ANTHROPIC_BASE_URL"]
    assert settings["env"]["ANTHROPIC_AUTH_TOKEN"] == variables["ANTHROPIC_AUTH_TOKEN"]
    assert settings["env"]["ANTHROPIC_API_KEY"] == ""
    assert settings["model"] == "opus"
    assert "FOO" not in settings["env"]
    assert f"{file}: ANTHROPIC_BASE_URL, ANTHROPIC_API_KEY, model glm-4.6 points at another gateway" in done.stderr
    assert json.loads((home / file).read_text()) == LEFT_OVER


@pytest.mark.parametrize("model", ["sonnet", "claude-opus/qwen3", "claude-provider/qwen3", "default"])
def test_choice_of_a_model_that_the_proxy_knows_is_left(home: Path, run: Run, model: str) -> None:
    (home / ".claude").mkdir()
    (home / ".claude/settings.json").write_text(json.dumps({"model": model}))
    done = run("claude")
    assert "model" not in told(done)["settings"]
    assert "another gateway" not in done.stderr


@pytest.mark.parametrize("form", ["file", "text", "equals"])
def test_settings_of_the_user_are_merged_with_those_of_the_proxy(home: Path, run: Run, form: str) -> None:
    own = {"model": "haiku", "env": {"FOO": "1", "ANTHROPIC_BASE_URL": "x"}, "permissions": {"deny": ["WebFetch"]}}
    (home / "own.json").write_text(json.dumps(own))
    arguments = {
        "file": ["--settings", "own.json"],
        "text": ["--settings", json.dumps(own)],
        "equals": ["--settings=own.json"],
    }[form]
    fake = told(run("claude", "--", "-p", *arguments, "hi", "--", "--settings"))
    assert fake["arguments"] == ["-p", "hi", "--", "--settings"]
    assert fake["settings"]["permissions"] == own["permissions"]
    assert fake["settings"]["model"] == "haiku"
    assert fake["settings"]["env"]["FOO"] == "1"
    assert fake["settings"]["env"]["ANTHROPIC_BASE_URL"] == fake["environment"]["ANTHROPIC_BASE_URL"]


@pytest.mark.parametrize(
    ("given", "told_of"),
    [("none.json", "--settings none.json can't be read"), ("{", "is no JSON"), ('{"a": [', "is no JSON")],
)
def test_exit_code_2_when_settings_of_the_user_can_not_be_read(run: Run, given: str, told_of: str) -> None:
    done = run("claude", "--", "--settings", given)
    assert (done.returncode, done.stdout) == (2, "")
    assert told_of in done.stderr


def test_settings_file_is_for_its_owner_only_and_gone_at_the_end(home: Path, run: Run) -> None:
    install(home, f"#!{sys.executable}\nimport os, sys\nprint(sys.argv[2], oct(os.stat(sys.argv[2]).st_mode & 0o777))")
    path, mode = run("claude").stdout.split()
    assert mode == "0o600"
    assert not Path(path).exists()


def test_background_session_needs_a_proxy_that_stays(run: Run) -> None:
    done = run("claude", "--", "--bg", "task")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cc-boost service install" in done.stderr
    assert "--url" in done.stderr


def test_settings_file_stays_for_a_background_session(home: Path, run: Run) -> None:
    with proxied(ScriptedProvider(), big_model="gpt-4o", small_model="small") as url:
        done = run("claude", "--url", url, "--bg", "task")
    assert told(done)["arguments"] == ["--bg", "task"]
    assert len(list((home / "tmp").glob("cc-boost-claude-*.json"))) == 1


@pytest.mark.parametrize("page", [{"name": "other"}, ["list"], "text"])
def test_exit_code_1_when_the_url_is_no_cc_boost(run: Run, page: Any) -> None:
    with serve(json_answers({"/": page, "/v1/models": {"data": [{"id": "gpt-4o"}]}}), lifespan="off") as server:
        done = run("claude", "--url", server.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{server.url} is no cc-boost.")


@pytest.fixture
def started(home: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start ``cc-boost claude`` with a program that waits for signals, in a session of its own."""
    install(home, WAITS)
    processes: list[subprocess.Popen[str]] = []

    def start(**variables: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [COMMAND, "claude"],
            cwd=home,
            env=environment(home, **variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("up ")
        return process

    yield start
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=LIMIT)


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 21), ("SIGINT", 23)])
def test_signal_is_passed_on_and_the_exit_code_comes_back(
    started: Callable[..., "subprocess.Popen[str]"], name: str, code: int
) -> None:
    process = started()
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=LIMIT)
    assert (process.returncode, errors) == (code, "")


def test_signal_that_comes_while_claude_starts_is_passed_on_too(home: Path, run: Run) -> None:
    install(home, "#!/bin/sh\ntrap 'kill $!; exit 21' TERM\nsleep 60 &\nkill -TERM $PPID\nwait\n")
    assert run("claude").returncode == 21


def test_exit_code_is_128_more_when_a_signal_ends_claude(started: Callable[..., "subprocess.Popen[str]"]) -> None:
    process = started(FAKE_DIES="1")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LIMIT)
    assert process.returncode == 128 + signal.SIGTERM


def test_ctrl_c_at_a_terminal_reaches_claude_once_and_cc_boost_waits(home: Path) -> None:
    install(home, WAITS)
    pid, terminal = pty.fork()
    if pid == 0:  # in the child
        os.chdir(home)
        os.execve(COMMAND, [COMMAND, "claude"], environment(home))  # noqa: S606
    shown = b""
    while b"up http" not in shown:
        shown += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    end = time.monotonic() + LIMIT
    done, status = os.waitpid(pid, os.WNOHANG)
    while not done and time.monotonic() < end:
        time.sleep(0.02)
        done, status = os.waitpid(pid, os.WNOHANG)
    if not done:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os.close(terminal)
    assert done
    assert os.waitstatus_to_exitcode(status) == 23


@pytest.mark.parametrize("who", ["os.getpid()", "0"], ids=["itself", "its whole group"])
def test_suspended_and_resumed_by_a_shell_when_claude_suspends(home: Path, who: str) -> None:
    install(home, SUSPENDS.format(python=sys.executable, who=who))
    pid, terminal = pty.fork()
    if pid == 0:  # in the child
        os.chdir(home)
        os.execve("/bin/bash", ["bash", "--norc", "-i"], environment(home, TERM="dumb", PS1="$ ", BIG_MODEL="gpt-4o"))  # noqa: S606
    shown = b""

    def wait_for(text: bytes) -> None:
        nonlocal shown
        end = time.monotonic() + LIMIT
        while text not in shown:
            assert time.monotonic() < end, shown
            if select.select([terminal], [], [], 0.2)[0]:
                shown += os.read(terminal, 1000)

    try:
        os.write(terminal, f"{COMMAND} claude\n".encode())
        wait_for(b"Stopped")
        os.write(terminal, b"fg; echo code $?\n")
        wait_for(b"code 5")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
    assert shown.count(b"Stopped") == 1


def test_env_prints_lines_that_a_shell_takes(home: Path, run: Run) -> None:
    (home / ".env").write_text(
        "# Settings of cc-boost.\nANTHROPIC_API_KEY=it's a key,other\nPORT=9001\nBIG_MODEL=gpt-4o\n"
    )
    done = run("env", CLAUDE_CODE_USE_BEDROCK="1")
    script = (
        f'{done.stdout}\necho "$ANTHROPIC_BASE_URL|$ANTHROPIC_AUTH_TOKEN|$CLAUDE_CODE_USE_BEDROCK|$ANTHROPIC_API_KEY"'
    )
    environment = {"CLAUDE_CODE_USE_BEDROCK": "1", "ANTHROPIC_API_KEY": "x"}
    shown = subprocess.run(["/bin/sh", "-c", script], env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert shown.stdout == "http://localhost:9001|it's a key||\n"
    assert (done.returncode, done.stderr) == (0, "")


OWN_ACCESS = {
    "UPSTREAM_MINE_BASE_URL": "http://127.0.0.1:9/v1",
    "UPSTREAM_MINE_API_KEY": "client",
    "UPSTREAM_MINE_API": "anthropic",
    "BIG_MODEL": "gpt-4o,mine:claude-opus-5-5",
}


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN"])
def test_own_access_to_anthropic_stays_with_claude_and_the_key_goes_beside_it(run: Run, name: str) -> None:
    headers = "X-Team: one\nx-cc-boost-key: old"
    fake = told(run("claude", **OWN_ACCESS, **{name: "sk-ant-own"}, ANTHROPIC_CUSTOM_HEADERS=headers))
    for environment in (fake["environment"], {**fake["environment"], **fake["settings"]["env"]}):
        assert environment[name] == "sk-ant-own"
        lines = environment["ANTHROPIC_CUSTOM_HEADERS"].split("\n")
        team, own = (line for line in lines if not line.startswith("x-cc-boost-project: "))
        assert len(lines) == 3
        assert team == "X-Team: one"
        assert len(own.removeprefix("x-cc-boost-key: ")) >= 40
    assert ("ANTHROPIC_AUTH_TOKEN" in fake["environment"]) is (name == "ANTHROPIC_AUTH_TOKEN")


def test_env_puts_the_key_beside_ones_own_access(home: Path, run: Run) -> None:
    (home / ".env").write_text("# Settings of cc-boost.\nANTHROPIC_API_KEY=key-of-the-proxy\n")
    done = run("env", **OWN_ACCESS, CLAUDE_CODE_OAUTH_TOKEN="sk-ant-own", CLAUDE_CODE_USE_BEDROCK="1")
    assert "export ANTHROPIC_CUSTOM_HEADERS='x-cc-boost-key: key-of-the-proxy'\n" in done.stdout
    assert "ANTHROPIC_AUTH_TOKEN" not in done.stdout
    unset = done.stdout.splitlines()[0].split()[1:]
    assert "CLAUDE_CODE_OAUTH_TOKEN" not in unset
    assert "CLAUDE_CODE_USE_BEDROCK" in unset


def test_env_of_a_proxy_elsewhere_needs_no_provider(run: Run) -> None:
    done = run("env", "--url", "http://proxy.example:8082/", OPENAI_API_KEY="")
    assert "export ANTHROPIC_BASE_URL=http://proxy.example:8082\n" in done.stdout
    assert "export ANTHROPIC_AUTH_TOKEN=cc-boost\n" in done.stdout


URL = "http://127.0.0.1:1234"
KNOWN = Models({"OPUS": "big", "SONNET": "middle", "HAIKU": "small"})


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("OPENAI_API_KEY", "sk-own", True),  # the user's project may need it
        ("BOOST_API_KEY", "sk-boost", False),
        ("CUSTOM_HEADER_X_TEAM", "secret", False),
        ("ANTHROPIC_API_KEY", "sk-ant", False),
        ("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat", False),
        ("CLAUDE_CODE_USE_VERTEX", "1", False),
        ("ANTHROPIC_DEFAULT_OPUS_MODEL_SUPPORTED_CAPABILITIES", "thinking", False),
        ("ANTHROPIC_MODEL", "glm-4.6", False),
        ("ANTHROPIC_MODEL", "sonnet", True),
        ("CLAUDE_CODE_SUBAGENT_MODEL", "claude-haiku-4-5", True),
        ("CLAUDE_CODE_SUBAGENT_MODEL", "inherit", True),
        ("CLAUDE_CODE_SUBAGENT_MODEL", "qwen3", False),
        ("CLAUDE_CODE_MAX_RETRIES", "3", True),
        ("DISABLE_TELEMETRY", "1", True),
    ],
)
def test_environment_loses_what_leads_elsewhere(name: str, value: str, kept: bool) -> None:
    child = child_environment({name: value}, claude_variables(URL, "key", KNOWN))
    assert child.get(name) == (value if kept else None)


@pytest.mark.parametrize(
    ("window", "output", "opus", "variables"),
    [
        (None, None, "claude-opus-5-5", {"CLAUDE_CODE_DISABLE_1M_CONTEXT": "1"}),
        (200_000, 9000, "claude-opus-5-5", {"CLAUDE_CODE_DISABLE_1M_CONTEXT": "1"}),
        (1_047_576, None, "claude-opus-5-5", {}),
        *(
            (
                window,
                4096,
                "claude-opus/big",
                {"CLAUDE_CODE_DISABLE_1M_CONTEXT": "1", "CLAUDE_CODE_MAX_CONTEXT_TOKENS": str(window)},
            )
            for window in (32_768, 128_000, 262_144)
        ),
    ],
)
def test_names_and_limits_by_the_window_of_the_models(
    window: int | None, output: int | None, opus: str, variables: dict[str, str]
) -> None:
    limits = claude_variables(URL, "key", Models(KNOWN.names, True, window, output))
    expected = dict(variables)
    if output is not None:
        expected["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(output)
    of_sizes = ("CLAUDE_CODE_MAX_", "CLAUDE_CODE_DISABLE_1M_CONTEXT", "CLAUDE_CODE_AUTO_COMPACT", "CLAUDE_AUTOCOMPACT")
    assert {name: value for name, value in limits.items() if name.startswith(of_sizes)} == expected
    assert limits["ANTHROPIC_DEFAULT_OPUS_MODEL"] == opus
    assert limits["ANTHROPIC_DEFAULT_OPUS_MODEL_NAME"] == limits["ANTHROPIC_DEFAULT_FABLE_MODEL_NAME"] == "big"


@pytest.mark.parametrize(
    ("settings", "parent", "expected"),
    [
        ({}, {}, "0"),
        ({"safeguards_model": "judge"}, {}, None),
        ({"safeguards_model": "judge", "ccproxy_layers": ("model_mapping", "format_conversion")}, {}, "0"),
        ({}, {"CLAUDE_CODE_AUTO_MODE_SERVER": "1"}, "1"),
        ({"safeguards_model": "judge"}, {"CLAUDE_CODE_AUTO_MODE_SERVER": "0"}, "0"),
    ],
)
def test_claude_code_checks_actions_itself_where_the_proxy_does_not(
    settings: dict[str, Any], parent: dict[str, str], expected: str | None
) -> None:
    known = Settings.explicit(openai_api_key="k", **settings)
    models = set_models(known, model_limits(known))
    child = child_environment(parent, claude_variables(URL, "key", models))
    assert child.get("CLAUDE_CODE_AUTO_MODE_SERVER") == expected
    child = child_environment(parent, claude_variables(URL, "key", listed_models([], models)))
    assert child.get("CLAUDE_CODE_AUTO_MODE_SERVER") == expected


def test_limits_of_the_user_win() -> None:
    variables = claude_variables(URL, "key", Models({}, True, 32_768, 4096))
    child = child_environment({"CLAUDE_CODE_MAX_CONTEXT_TOKENS": "150000"}, variables)
    assert child["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "150000"
    assert child["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "4096"


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:1"}, "127.0.0.1,localhost"),
        ({"http_proxy": "http://proxy:1", "no_proxy": "a.example"}, "a.example,127.0.0.1,localhost"),
    ],
)
def test_this_machine_is_not_reached_through_a_proxy(parent: dict[str, str], expected: str | None) -> None:
    child = child_environment(parent, claude_variables(URL, "key", KNOWN))
    assert child.get("NO_PROXY") == child.get("no_proxy") == expected


def test_names_are_the_providers_own_where_the_proxy_maps_none() -> None:
    variables = claude_variables(URL, "key", Models(KNOWN.names, mapped=False))
    assert variables["ANTHROPIC_DEFAULT_OPUS_MODEL"] == "big"
    assert variables["ANTHROPIC_SMALL_FAST_MODEL"] == "small"


def test_models_are_read_from_the_list_of_a_proxy() -> None:
    listed: list[dict[str, Any]] = [
        {"id": "claude-opus", "display_name": "big", "max_input_tokens": None, "max_tokens": 9000},
        {"id": "claude-sonnet", "display_name": "middle", "max_input_tokens": 500_000, "max_tokens": 8000},
        {"id": "claude-haiku", "display_name": "small", "max_input_tokens": 1000, "max_tokens": 100},
        {"id": "big", "display_name": "big", "max_input_tokens": 300_000, "max_tokens": None},
    ]
    assert listed_models(listed) == Models(KNOWN.names, True, 300_000, 8000)
    assert listed_models([]) == Models()


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("sh", "export ANTHROPIC_BASE_URL=http://localhost:8082"),
        ("fish", "set -gx ANTHROPIC_BASE_URL 'http://localhost:8082'"),
        ("powershell", "$env:ANTHROPIC_BASE_URL = 'http://localhost:8082'"),
        ("cmd", "@set ANTHROPIC_BASE_URL=http://localhost:8082"),
    ],
)
def test_variables_are_printed_for_the_shell_that_is_named(run: Run, shell: str, line: str) -> None:
    done = run("env", "--shell", shell, "--url", "http://localhost:8082", OPENAI_API_KEY="")
    assert line in done.stdout.splitlines()


def test_variables_are_printed_while_the_provider_is_down(run: Run) -> None:
    done = run("env", OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert "export ANTHROPIC_BASE_URL=" in done.stdout
    assert done.stderr.count("\n") == 1
    assert "cc-boost: the provider can't be reached" in done.stderr


def test_models_of_other_upstreams_are_known_with_their_windows(run: Run) -> None:
    listing = {"data": [{"id": "qwen3", "object": "model", "context_length": 50_000}]}
    with serve(JSONResponse(listing), lifespan="off") as server:
        done = run(
            "env", UPSTREAM_LOCAL_BASE_URL=f"{server.url}/v1", UPSTREAM_LOCAL_API_KEY="planted-local",
            BIG_MODEL="local:qwen3,gpt-4o", SMALL_MODEL="local:qwen3",
        )  # fmt: skip
    assert done.returncode == 0
    assert "export ANTHROPIC_DEFAULT_OPUS_MODEL_NAME=local:qwen3" in done.stdout
    assert "export CLAUDE_CODE_MAX_CONTEXT_TOKENS=50000" in done.stdout
    assert "unset" in done.stdout
    assert "UPSTREAM_LOCAL_API_KEY" in done.stdout.splitlines()[0]
    assert "planted-local" not in done.stdout


def test_claude_starts_while_a_standby_can_be_reached_and_says_so_where_none_can(run: Run) -> None:
    gone = {"UPSTREAM_GONE_BASE_URL": "http://127.0.0.1:9/v1", "UPSTREAM_GONE_API_KEY": "k"}
    fine = run("claude", BIG_MODEL="gone:a,gpt-4o", **gone)
    assert fine.returncode == 0
    done = run("claude", BIG_MODEL="gone:a", **gone)
    assert done.returncode == 1
    assert "Is UPSTREAM_GONE_BASE_URL=http://127.0.0.1:9/v1 right" in done.stderr
