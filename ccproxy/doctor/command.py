"""``cc-boost doctor``: what works with the provider, what does not, and how to fix it.

The checks are listed in ``checks.py``. Each is a function that asks the provider and returns a Result.
"""

import asyncio
import io
import json
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ccproxy.model_limits import model_limits, short_answers
from ccproxy.serving import EXIT_CONFIGURATION
from ccproxy.settings import (
    ConfigurationError,
    Settings,
    Upstream,
    file_to_write,
    is_variable,
    place_of,
    settings_files,
    startup_warnings,
)
from ccproxy_middleware.conversion.providers import detect_provider

from .env_file import write_variables
from .examination import Check, Examination, Result, ok, problem, skipped, warning
from .probe import open_probe
from .report import NOT_ASKED, Document, Lines, Redactor, Verdict, configuration_document, print_document
from .upstreams import as_only, checks_for, examined, models_of

EXIT_PROBLEMS = 1
EXIT_INTERRUPTED = 130

CHECK_LIMIT = 150.0
"""Seconds for one check."""

_LIMIT = "MAX_TOKENS_LIMIT"
_SETTING = re.compile(r"\b[A-Z]{2,}(?:_[A-Z0-9]+)+\b")


def run(*, env_file: str | None = None, as_json: bool = False, write_env: bool = False) -> int:
    """Examine the provider in the settings, print the results, and return the exit code.

    0: everything works, perhaps with warnings. 1: there are problems. 2: the settings are invalid or can't be written.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # the terminal's encoding may lack characters of the provider's text
    logging.getLogger("ccproxy").addHandler(logging.NullHandler())  # otherwise its warnings go to standard error
    try:
        settings = Settings.load(env_file)
    except ConfigurationError as exc:
        if as_json:
            print_document(configuration_document(exc.problems))
        else:
            print(exc, file=sys.stderr)
        return EXIT_CONFIGURATION
    report = Document() if as_json else Lines()
    try:
        exams = asyncio.run(_examine(settings, report, env_file))
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return EXIT_INTERRUPTED
    env: dict[str, str] = {}
    changes: dict[str, str] = {}
    for name, exam in exams.items():
        fitting, changed = _fitting(settings, name, exam)
        env |= _least_limit(env, fitting)
        changes |= _least_limit(changes, changed)
    written = None
    if write_env and changes:
        written = file_to_write(env_file)
        try:
            write_variables(Path(written), changes)
        except OSError as exc:
            print(f"{written} can't be written: {exc.strerror or exc}", file=sys.stderr)
            return EXIT_CONFIGURATION
    results = {name: exam.results for name, exam in exams.items()}
    requests = sum(exam.probe.requests for exam in exams.values())
    verdict = Verdict(settings, results, env, changes, requests, written)
    report.verdict(verdict)
    overruled = [name for name in changes if os.environ.get(name)]
    if written and overruled:
        print(f"{', '.join(overruled)} is set in the environment, which wins over {written}.", file=sys.stderr)
    return EXIT_PROBLEMS if verdict.problems else 0


async def _examine(settings: Settings, report: Document | Lines, env_file: str | None) -> dict[str, Examination]:
    """The examinations of all upstreams, by name."""
    names = examined(settings)
    exams: dict[str, Examination] = {}
    for name in names:
        report.begin(settings, name, several=len(names) > 1)
        checks = (
            [Check("configuration", "Configuration", partial(_configuration, settings))] if name == names[0] else []
        )
        checks += checks_for(settings, name, last=name == names[-1])
        async with open_probe(settings, name) as probe:
            exam = exams[name] = Examination(as_only(settings, name), probe, models_of(settings, name))
            exam.results |= {"named": _unnamed()} if not exam.named else {}
            await _check(exam, checks, settings.upstream(name), report, env_file)
    return exams


async def _check(
    exam: Examination, checks: Sequence[Check], upstream: Upstream, report: Document | Lines, env_file: str | None
) -> None:
    clean = Redactor(exam.settings)
    blocked: dict[str, str] = {}
    for check in checks:
        stopped = next((blocked[need] for need in check.needs if need in blocked), None)
        if stopped is not None:
            blocked[check.id] = stopped
            result = skipped(f"{NOT_ASKED}{stopped}")
        else:
            with report.running(check):
                result = await _within_limit(check, exam)
            if result.outcome == "problem":
                blocked[check.id] = check.title
        remedy = result.remedy if check.id in ("configuration", "planner") else upstream.own_names(result.remedy)
        result = Result(result.outcome, clean(result.detail), clean(_with_places(remedy, env_file)))
        exam.results[check.id] = result
        report.result(check.title, result)
    if "named" in exam.results:
        report.result("Models", exam.results["named"])


def _unnamed() -> Result:
    return warning("no setting and no rule names one of its models", "Name one as NAME:model, or remove its variables.")


def _with_places(remedy: str, env_file: str | None) -> str:
    """A remedy that also says where the settings it names are set."""
    paths = [file.path for file in settings_files(env_file) if not file.left_out]
    known = dict.fromkeys(name for name in _SETTING.findall(remedy) if is_variable(name))
    places = [f"{name} is set in {place}." for name in known if (place := place_of(name, paths))]
    return " ".join([remedy, *places])


async def _within_limit(check: Check, exam: Examination) -> Result:
    try:
        async with asyncio.timeout(CHECK_LIMIT):
            return await check.run(exam)
    except TimeoutError:
        return problem(
            f"not done after {CHECK_LIMIT:.0f} s", "Is the model still loading, or too large for this machine?"
        )


async def _configuration(settings: Settings, exam: Examination) -> Result:
    warnings = startup_warnings(settings, "127.0.0.1")
    remedy = ""
    if too_short := short_answers(settings):
        warnings.append(too_short)
        remedy = "Raise MAX_TOKENS_LIMIT to what the model can write."
    if warnings:
        return warning(" ".join(warnings), remedy)
    return ok(f"profile {exam.settings.provider}")


def _fitting(settings: Settings, name: str, exam: Examination) -> tuple[dict[str, str], dict[str, str]]:
    """The variables that match the findings at an upstream, and those of them that have another value now."""
    own = exam.settings
    upstream = settings.upstream(name)
    env: dict[str, str] = {}
    changes: dict[str, str] = {}
    if upstream.is_anthropic:
        return env, changes
    if exam.base_url != own.openai_base_url:
        env["OPENAI_BASE_URL"] = changes["OPENAI_BASE_URL"] = exam.base_url
    if exam.provider != detect_provider(own.openai_base_url):
        env["PROVIDER"] = exam.provider
        if exam.provider != own.provider:
            changes["PROVIDER"] = exam.provider
    answer = model_limits(own, exam.listed or {}).answer if exam.named else None
    if answer is not None and "max_tokens_limit" not in own.model_fields_set:
        limit = max(answer, own.min_tokens_limit or 1)
        env[_LIMIT] = changes[_LIMIT] = str(limit)
    options = {**upstream.provider_options, **exam.found}
    if options:
        env["PROVIDER_OPTIONS"] = json.dumps(options).replace("${", "\\u0024{")  # which .env files expand
        if exam.found:
            changes["PROVIDER_OPTIONS"] = env["PROVIDER_OPTIONS"]
    return (
        {upstream.own_names(variable): value for variable, value in env.items()},
        {upstream.own_names(variable): value for variable, value in changes.items()},
    )


def _least_limit(known: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """The variables of both. Of two values for a limit that holds for all upstreams, the lower one is kept."""
    limits = [int(values[_LIMIT]) for values in (known, more) if _LIMIT in values]
    return {**more, **({_LIMIT: str(min(limits))} if limits else {})}
