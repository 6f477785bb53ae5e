"""What the examination tells: a line for each check, then the verdict; or one JSON document."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from ccproxy.settings import Settings
from ccproxy_middleware.conversion.providers import redact

from .checks import CHECKS
from .env_file import quote
from .examination import Check, Result, counted

_MAX_DETAIL = 300
NOT_ASKED = "not asked: see "
_MIN_SECRET = 8  # shorter ones are placeholders, such as none, and parts of other words
_SIGNS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red"), "skipped": ("-", "dim")}
_TITLE_WIDTH = max(len("Configuration"), *(len(check.title) for check in CHECKS))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end: what stands in ``.env`` as it fits (``env``), what of it is not set yet (``changes``).

    requests: how many the provider was asked. written: the file in which the changes were put, if they were.
    """

    settings: Settings
    results: Mapping[str, Result]
    env: Mapping[str, str]
    changes: Mapping[str, str]
    requests: int = 0
    written: str | None = None

    @property
    def problems(self) -> int:
        """How many checks found one."""
        return self.count("problem")

    def count(self, outcome: str) -> int:
        """How many checks came out so."""
        return sum(result.outcome == outcome for result in self.results.values())


class Redactor:
    """Takes the secrets of the settings, and what looks like a key, out of a text; and what a terminal would obey."""

    def __init__(self, settings: Settings) -> None:
        known = (settings.openai_api_key, settings.boost_api_key, settings.web_search_key)
        keys = [key.get_secret_value() for key in known if key is not None]
        secrets = [*keys, *settings.client_keys, *settings.custom_headers.values()]
        self._secrets = sorted((text for text in secrets if len(text) >= _MIN_SECRET), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = "".join(char if char.isprintable() else " " for char in redact(text))
        return text if len(text) <= _MAX_DETAIL else text[: _MAX_DETAIL - 1] + "…"


class Lines:
    """Lines for people: with signs and colours on a terminal, with words elsewhere."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._not_asked: dict[str, int] = {}  # how many checks, by why: they would bury what is wrong

    def begin(self, settings: Settings) -> None:
        """What is examined."""
        models = dict.fromkeys((settings.big_model, settings.middle_model, settings.small_model))
        self._console.print(Text(f"{settings.openai_base_url} with {', '.join(models)}\n", "bold"))

    @contextmanager
    def running(self, check: Check) -> Iterator[None]:
        """Show that a check is at work, where that can be taken away again."""
        with self._console.status(Text(check.title)):
            yield

    def result(self, title: str, result: Result) -> None:
        """One check's result; those that were not asked for want of an earlier one are told in a line at the end."""
        if result.outcome == "skipped" and result.detail.startswith(NOT_ASKED):
            self._not_asked[result.detail] = self._not_asked.get(result.detail, 0) + 1
            return
        sign, style = _SIGNS[result.outcome]
        head = f" {sign} " if self._console.is_terminal else f"{result.outcome:8} "
        quiet = "dim" if result.outcome == "skipped" else ""
        self._console.print(Text.assemble((head, style), (f"{title:{_TITLE_WIDTH}}  ", quiet), (result.detail, quiet)))
        if result.remedy:
            self._console.print(
                Text.assemble(" " * len(head), ("→ " if head[1] == sign else "remedy: ", style), result.remedy)
            )

    def verdict(self, verdict: Verdict) -> None:
        """The verdict, and the lines for ``.env``."""
        show = self._console.print
        for reason, count in self._not_asked.items():
            show(Text(f"{counted(count, 'check')} {reason}", "dim"))
        problems, warnings = verdict.problems, verdict.count("warning")
        show()
        if problems:
            show(Text(f"{counted(problems, 'problem')}: Claude Code will not work well like this.", "bold red"))
        elif warnings:
            show(Text(f"It works, with {counted(warnings, 'warning')}.", "bold yellow"))
        else:
            show(Text("All is well: Claude Code will work with this provider.", "bold green"))
        lines = [f"{name}={quote(value)}" for name, value in verdict.env.items()]
        if verdict.written:
            show(f"Written to {verdict.written}:")
        elif verdict.changes:
            show("What fits, for .env (--write-env puts it there):")
        elif lines:
            show("What is set already fits:")
        elif not problems:
            show(f"The profile {verdict.settings.provider} fits as it is: nothing is to be set.")
        for line in lines:
            show(Text(f"  {line}", "cyan"))


class Document:
    """One JSON document on standard output, at the end."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def begin(self, settings: Settings) -> None:
        """Nothing yet."""

    @contextmanager
    def running(self, check: Check) -> Iterator[None]:
        """Nothing yet."""
        yield

    def result(self, title: str, result: Result) -> None:
        """Nothing yet."""

    def verdict(self, verdict: Verdict) -> None:
        """All of it."""
        settings = verdict.settings
        outcomes = ("problem", "warning", "ok")
        document = {
            "verdict": next((outcome for outcome in outcomes if verdict.count(outcome)), "ok"),
            "base_url": settings.openai_base_url,
            "models": {
                "BIG_MODEL": settings.big_model,
                "MIDDLE_MODEL": settings.middle_model,
                "SMALL_MODEL": settings.small_model,
            },
            "checks": [
                {"id": id_, "outcome": result.outcome, "detail": result.detail, "remedy": result.remedy or None}
                for id_, result in verdict.results.items()
            ],
            "env": dict(verdict.env),
            "changes": dict(verdict.changes),
            "requests": verdict.requests,
            "written": verdict.written,
        }
        print_document(document)


def print_document(document: Mapping[str, Any]) -> None:
    """JSON on standard output."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def configuration_document(problems: Sequence[str]) -> dict[str, Any]:
    """The document where the settings can't be used."""
    return {"verdict": "configuration", "problems": list(problems), "checks": []}
