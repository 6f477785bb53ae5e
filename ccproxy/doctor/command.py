"""``cc-boost doctor``: what works with the provider, what does not, and what to do about it.

The checks stand in ``checks.py``; each is a function that asks the provider and returns a Result.
"""

import asyncio
import io
import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from ccproxy.model_limits import model_limits, short_answers
from ccproxy.serving import EXIT_CONFIGURATION
from ccproxy.settings import ConfigurationError, Settings, file_to_write, place_of, settings_files, startup_warnings
from ccproxy_middleware.conversion.providers import detect_provider

from .checks import CHECKS
from .env_file import write_variables
from .examination import Check, Examination, Result, ok, problem, skipped, warning
from .probe import open_probe
from .report import NOT_ASKED, Document, Lines, Redactor, Verdict, configuration_document, print_document

EXIT_PROBLEMS = 1
EXIT_INTERRUPTED = 130

CHECK_LIMIT = 150.0
"""Seconds for one check."""

_SETTING = re.compile(r"\b[A-Z]{2,}(?:_[A-Z]+)+\b")


def run(*, env_file: str | None = None, as_json: bool = False, write_env: bool = False) -> int:
    """Examine the provider of the settings, tell what was found, and return the exit code.

    0: all is well, perhaps with warnings. 1: there are problems. 2: the settings can't be used, or not be written.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a provider's words may not be in the terminal's encoding
    logging.getLogger("ccproxy").addHandler(logging.NullHandler())  # else its warnings go to standard error
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
        exam, results = asyncio.run(_examine(settings, report, env_file))
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return EXIT_INTERRUPTED
    env, changes = _fitting(exam)
    written = None
    if write_env and changes:
        written = file_to_write(env_file)
        try:
            write_variables(Path(written), changes)
        except OSError as exc:
            print(f"{written} can't be written: {exc.strerror or exc}", file=sys.stderr)
            return EXIT_CONFIGURATION
    verdict = Verdict(settings, results, env, changes, exam.probe.requests, written)
    report.verdict(verdict)
    overruled = [name for name in changes if os.environ.get(name)]
    if written and overruled:
        print(f"{', '.join(overruled)} is set in the environment, which wins over {written}.", file=sys.stderr)
    return EXIT_PROBLEMS if verdict.problems else 0


async def _examine(
    settings: Settings, report: Document | Lines, env_file: str | None
) -> tuple[Examination, Mapping[str, Result]]:
    clean = Redactor(settings)
    blocked: dict[str, str] = {}
    report.begin(settings)
    async with open_probe(settings) as probe:
        exam = Examination(settings, probe)
        for check in (Check("configuration", "Configuration", _configuration), *CHECKS):
            stopped = next((blocked[need] for need in check.needs if need in blocked), None)
            if stopped is not None:
                blocked[check.id] = stopped
                result = skipped(f"{NOT_ASKED}{stopped}")
            else:
                with report.running(check):
                    result = await _within_limit(check, exam)
                if result.outcome == "problem":
                    blocked[check.id] = check.title
            result = Result(result.outcome, clean(result.detail), clean(_with_places(result.remedy, env_file)))
            exam.results[check.id] = result
            report.result(check.title, result)
    return exam, exam.results


def _with_places(remedy: str, env_file: str | None) -> str:
    """A remedy that also says where the settings that it names are set."""
    paths = [file.path for file in settings_files(env_file) if not file.left_out]
    known = dict.fromkeys(name for name in _SETTING.findall(remedy) if name.lower() in Settings.model_fields)
    places = [f"{name} stands in {place}." for name in known if (place := place_of(name, paths))]
    return " ".join([remedy, *places])


async def _within_limit(check: Check, exam: Examination) -> Result:
    try:
        async with asyncio.timeout(CHECK_LIMIT):
            return await check.run(exam)
    except TimeoutError:
        return problem(
            f"not done after {CHECK_LIMIT:.0f} s", "Is the model still loading, or too slow for this machine?"
        )


async def _configuration(exam: Examination) -> Result:
    warnings = startup_warnings(exam.settings, "127.0.0.1")
    remedy = ""
    if too_short := short_answers(exam.settings):
        warnings.append(too_short)
        remedy = "Raise MAX_TOKENS_LIMIT to what the model can write."
    if warnings:
        return warning(" ".join(warnings), remedy)
    return ok(f"profile {exam.settings.provider}")


def _fitting(exam: Examination) -> tuple[dict[str, str], dict[str, str]]:
    """The variables that fit what was found, and those of them that are not set so."""
    settings = exam.settings
    env: dict[str, str] = {}
    changes: dict[str, str] = {}
    if exam.base_url != settings.openai_base_url:
        env["OPENAI_BASE_URL"] = changes["OPENAI_BASE_URL"] = exam.base_url
    if exam.provider != detect_provider(settings.openai_base_url):
        env["PROVIDER"] = exam.provider
        if exam.provider != settings.provider:
            changes["PROVIDER"] = exam.provider
    answer = model_limits(settings, exam.listed or {}).answer
    if answer is not None and "max_tokens_limit" not in settings.model_fields_set:
        limit = max(answer, settings.min_tokens_limit or 1)
        env["MAX_TOKENS_LIMIT"] = changes["MAX_TOKENS_LIMIT"] = str(limit)
    if exam.options:
        env["PROVIDER_OPTIONS"] = json.dumps(exam.options).replace("${", "\\u0024{")  # which .env files expand
        if exam.found:
            changes["PROVIDER_OPTIONS"] = env["PROVIDER_OPTIONS"]
    return env, changes
