"""The examination's output: a line for each check, then the verdict; or one JSON document."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from ccproxy.settings import Settings, named_models, tier_models
from ccproxy_middleware.conversion.providers import redact

from .checks import CHECKS
from .env_file import quote
from .examination import Check, Result, counted

_MAX_DETAIL = 300
NOT_ASKED = "not asked: see "
_MIN_SECRET = 8  # shorter values are placeholders, such as none, or parts of other words
_SIGNS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red"), "skipped": ("-", "dim")}
_TITLE_WIDTH = max(len("Configuration"), *(len(check.title) for check in CHECKS))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict: the matching content of ``.env`` (``env``), and the part that is not set yet (``changes``).

    results: those of each upstream, by check id. requests: how many requests were sent to the providers. written: the
    file
    to which the changes were written, if they were.
    """

    settings: Settings
    results: Mapping[str, Mapping[str, Result]]
    env: Mapping[str, str]
    changes: Mapping[str, str]
    requests: int = 0
    written: str | None = None

    @property
    def problems(self) -> int:
        """The number of checks that found a problem."""
        return self.count("problem")

    def count(self, outcome: str) -> int:
        """The number of checks with this result."""
        return sum(result.outcome == outcome for results in self.results.values() for result in results.values())


class Redactor:
    """Removes the settings' secrets, anything that looks like a key, and terminal control characters from a text."""

    def __init__(self, settings: Settings) -> None:
        secrets = settings.secrets()
        self._secrets = sorted((text for text in secrets if len(text) >= _MIN_SECRET), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = "".join(char if char.isprintable() else " " for char in redact(text))
        return text if len(text) <= _MAX_DETAIL else text[: _MAX_DETAIL - 1] + "…"


class Lines:
    """Readable lines: with symbols and colours on a terminal, with words elsewhere."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._not_asked: dict[str, int] = {}  # skipped checks by reason; printed at once they would hide problems

    def begin(self, settings: Settings, upstream: str, *, several: bool) -> None:
        """Print what is examined. ``several``: there are other upstreams."""
        asked = settings.upstream(upstream)
        if several:
            self._tell_not_asked()
            named = [model.model for model in named_models(settings) if model.upstream == upstream]
        else:
            named = list(tier_models(settings).values())
        models = ", ".join(dict.fromkeys(named)) or "no model"
        head = f"{upstream}: " if several else ""
        self._console.print(Text(f"{head}{asked.base_url} with {models}\n", "bold"))

    def _tell_not_asked(self) -> None:
        for reason, count in self._not_asked.items():
            self._console.print(Text(f"{counted(count, 'check')} {reason}", "dim"))
        self._not_asked.clear()

    @contextmanager
    def running(self, check: Check) -> Iterator[None]:
        """Show that a check is running, if the terminal lets us erase that again."""
        with self._console.status(Text(check.title)):
            yield

    def result(self, title: str, result: Result) -> None:
        """Print a check's result. Checks skipped because of an earlier one are listed in a line at the end."""
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
        """Print the verdict, and the lines for ``.env``."""
        show = self._console.print
        self._tell_not_asked()
        problems, warnings = verdict.problems, verdict.count("warning")
        show()
        if problems:
            show(
                Text(f"{counted(problems, 'problem')}: Claude Code will not work well with these settings.", "bold red")
            )
        elif warnings:
            show(Text(f"It works, with {counted(warnings, 'warning')}.", "bold yellow"))
        else:
            show(Text("Everything works: Claude Code can use this provider.", "bold green"))
        lines = [f"{name}={quote(value)}" for name, value in verdict.env.items()]
        if verdict.written:
            show(f"Written to {verdict.written}:")
        elif verdict.changes:
            show("Lines for .env (--write-env writes them):")
        elif lines:
            show("Your settings already fit:")
        elif not problems:
            show(f"The profile {verdict.settings.provider} fits as it is; nothing needs to be set.")
        for line in lines:
            show(Text(f"  {line}", "cyan"))


class Document:
    """One JSON document on standard output, at the end."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def begin(self, settings: Settings, upstream: str, *, several: bool) -> None:
        """Print nothing yet."""

    @contextmanager
    def running(self, check: Check) -> Iterator[None]:
        """Print nothing yet."""
        yield

    def result(self, title: str, result: Result) -> None:
        """Print nothing yet."""

    def verdict(self, verdict: Verdict) -> None:
        """Print the whole document."""
        settings = verdict.settings
        outcomes = ("problem", "warning", "ok")
        document = {
            "verdict": next((outcome for outcome in outcomes if verdict.count(outcome)), "ok"),
            "base_url": settings.upstream(next(iter(verdict.results))).base_url,
            "models": tier_models(settings),
            "checks": _checks(next(iter(verdict.results.values()))),
            "env": dict(verdict.env),
            "changes": dict(verdict.changes),
            "requests": verdict.requests,
            "written": verdict.written,
        }
        if len(verdict.results) > 1:
            document["upstreams"] = {
                name: {"base_url": settings.upstream(name).base_url, "checks": _checks(results)}
                for name, results in verdict.results.items()
            }
        print_document(document)


def _checks(results: Mapping[str, Result]) -> list[dict[str, str | None]]:
    return [
        {"id": id_, "outcome": result.outcome, "detail": result.detail, "remedy": result.remedy or None}
        for id_, result in results.items()
    ]


def print_document(document: Mapping[str, Any]) -> None:
    """Print JSON to standard output."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def configuration_document(problems: Sequence[str]) -> dict[str, Any]:
    """The document for invalid settings."""
    return {"verdict": "configuration", "problems": list(problems), "checks": []}
