"""The parts of README.md and docs/ that are made from the code, so that they can't go stale.

A part stands between ``<!-- its name -->`` and ``<!-- / -->``. In the tables of switches and of the log's fields the
last column is written by hand, and kept.

    python -m support.documents      (in tests/) writes all parts anew
"""

import ast
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from prometheus_client import CollectorRegistry

import ccproxy_middleware
from ccproxy.logs.exchange_log import _fields
from ccproxy.settings.listing import described, variables
from ccproxy_middleware.conversion.providers.profiles import PROFILES, SWITCHES, Profile
from ccproxy_middleware.conversion.providers.switch_values import EFFORTS, IMAGE_FORMATS
from ccproxy_middleware.metrics.instruments import Instruments
from ccproxy_middleware.toolkit.json import dumps
from ccproxy_middleware.toolkit.record import Record

from .clients.claude_code import VERSION
from .clients.client_words import WORDS
from .paths import ROOT

PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md")]
"""Together with all of docs/ and bench/README.md: see :func:`pages`."""

OFTEN_SET = (
    *("OPENAI_API_KEY", "OPENAI_BASE_URL", "PROVIDER", "PROVIDER_OPTIONS", "BIG_MODEL", "MIDDLE_MODEL", "SMALL_MODEL"),
    *("MAX_TOKENS_LIMIT", "ANTHROPIC_API_KEY", "HOST", "PORT", "REQUEST_TIMEOUT", "LOG_LEVEL", "INSPECTOR"),
    *("WEB_SEARCH", "ENABLE_BOOST_SUPPORT", "CUSTOM_HEADER_*", "UPSTREAM_<NAME>_BASE_URL", "UPSTREAM_<NAME>_API_KEY"),
)
"""The settings in the README; docs/settings.md has them all."""


def pages() -> list[Path]:
    """Every page of the documentation."""
    return [*PAGES, ROOT / "bench/README.md", *sorted((ROOT / "docs").glob("*.md"))]


def part(page: str, name: str) -> str:
    """What a page says in one part."""
    found = _part(name).search(page)
    assert found, f"there is no part {name}"
    return found[2].strip()


def made(page: str) -> str:
    """The page with all its parts made anew."""
    for name, make in PARTS.items():

        def fresh(found: re.Match[str], make: Callable[[str], str] = make) -> str:
            return f"{found[1]}{make(found[2].strip())}\n{found[3]}"

        page = _part(name).sub(fresh, page)
    return page


def layer_docstring(name: str) -> str:
    """A layer's docstring as Markdown, with its parts in bold."""
    text = inspect.cleandoc(getattr(ccproxy_middleware, name).__doc__).replace("``", "`")
    return re.sub(r"^(Reads|Writes|Needs|Alone):", r"\n**\1:**", text, flags=re.MULTILINE).replace("\n\n\n", "\n\n")


def _layer(name: str) -> Callable[[str], str]:
    return lambda old: layer_docstring(name)


LAYERS = [name for name in ccproxy_middleware.__all__ if name.endswith("Middleware")]


def _part(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {re.escape(name)} -->\n)(.*?)(<!-- / -->)", re.DOTALL)


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(lines)} |".replace("|  |", "| |") for lines in lines)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _often_set_settings(old: str) -> str:
    rows = [(_code(name), _code(default), text) for name, default, text in variables() if name in OFTEN_SET]
    return _table(("variable", "default", "meaning"), rows)


def _all_settings(old: str) -> str:
    rows = [(_code(name), _code(default), accepted, text) for name, default, accepted, text in described()]
    return _table(("variable", "default", "accepted", "meaning"), rows)


def _profiles(old: str) -> str:
    return ", ".join(_code(name) for name in PROFILES)


def _written(value: Any) -> str:
    """A switch's value as one writes it in PROVIDER_OPTIONS."""
    plain = list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value
    return _code(dumps(plain).decode())


def _values(name: str, hint: Any) -> str:
    if name == "efforts":
        return "a list out of " + ", ".join(EFFORTS)
    if name == "image_formats":
        return "a list out of " + ", ".join(IMAGE_FORMATS)
    if name in ("effort_off", "adaptive_effort"):
        return ", ".join((*EFFORTS, "omit"))
    if get_origin(hint) is Literal:
        return ", ".join(get_args(hint))
    return {bool: "true, false", str: "a text"}.get(
        hint, "a JSON object" if name == "extra_body" else "a whole number, none"
    )


def _switches(old: str) -> str:
    hints, generic, meanings = get_type_hints(Profile), PROFILES["generic"], _last_column(old)
    rows = [
        (_code(name), _written(getattr(generic, name)), _values(name, hints[name]), meanings.get(name, ""))
        for name in SWITCHES
    ]
    return _table(("switch", "of `generic`", "values", "meaning"), rows)


def _profile(name: str) -> Callable[[str], str]:
    def make(old: str) -> str:
        profile, generic = PROFILES[name], PROFILES["generic"]
        known = [_code(f"*{host}" if host.startswith((".", "-")) else host) for host in profile.hosts]
        known += [f"port {profile.port}"] if profile.port else []
        found = "found by " + ", ".join(known) if known else f"needs `PROVIDER={name}`"
        lines = [f"Profile `{name}`: {found}."]
        rows = [
            (_code(switch), _written(value))
            for switch in SWITCHES
            if (value := getattr(profile, switch)) not in (getattr(generic, switch), getattr(Profile(), switch))
        ]
        rows += [
            (f"for models `{pattern.replace('|', chr(92) + '|')}`", _written(switches))
            for pattern, switches in profile.models
        ]
        return "\n".join([*lines, "", _table(("switch", "value"), rows)] if rows else lines)

    return make


def _metrics(old: str) -> str:
    registry = CollectorRegistry()
    Instruments(registry)
    rows = []
    for metric in registry._collector_to_names:
        known: Any = metric
        name = known._name + ("_total" if known._type == "counter" else "")
        rows.append((_code(name), known._type, ", ".join(map(_code, known._labelnames)), known._documentation))
    return _table(("metric", "kind", "labels", "meaning"), rows)


def _log_fields(old: str) -> str:
    meanings = _last_column(old)
    names = _fields(Record("req_1", "POST", "/v1/messages"))
    return _table(("field", "meaning"), [(_code(name), meanings.get(name, "")) for name in names])


def _last_column(table: str) -> dict[str, str]:
    """What a table says last, by its first column."""
    return dict(re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", re.sub(r"^(\| `\w+` \|)", r"\1 |", table, flags=re.M), re.M))


def _seen(old: str) -> str:
    """A row for each ``@pytest.mark.seen(feature, what)`` of the tests with Claude Code, read without running them."""
    rows = []
    for path in sorted((ROOT / "tests/e2e").glob("test_*.py")):
        for test in ast.walk(ast.parse(path.read_text())):
            for mark in test.decorator_list if isinstance(test, ast.FunctionDef) else ():
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.seen":
                    feature, what = map(ast.literal_eval, mark.args)
                    assert isinstance(test, ast.FunctionDef)
                    rows.append((feature, VERSION, what, _code(f"{path.stem}::{test.name}")))
    return _table(("feature", "client version", "what was seen", "test"), sorted(rows))


def _client_words(old: str) -> str:
    rows = [(f"`` {row.words} ``", row.reaction) for row in WORDS]
    return _table(("words of a 400", "what Claude Code does"), rows)


PARTS: Mapping[str, Callable[[str], str]] = {
    "settings": _often_set_settings,
    "all settings": _all_settings,
    "profiles": _profiles,
    "switches": _switches,
    "metrics": _metrics,
    "log fields": _log_fields,
    "seen": _seen,
    "client words": _client_words,
    **{f"profile {name}": _profile(name) for name in PROFILES if name != "generic"},
    **{name: _layer(name) for name in LAYERS},
}
"""What makes each part anew, of its old text."""


if __name__ == "__main__":
    for path in pages():
        path.write_text(made(path.read_text()))
