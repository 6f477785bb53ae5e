"""What a terminal shows at the start: the configuration in use, and what to type next."""

from importlib.metadata import version

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..layers import layers_in_use
from ..model_limits import short_answers
from ..settings import Settings, names_of, startup_warnings

_EVERY_INTERFACE = ("0.0.0.0", "::")  # noqa: S104 - not a bind


def banner(settings: Settings, url: str, console: Console | None = None) -> str:
    """The text for the terminal, in colours if it supports them. ``url``: where this machine reaches the proxy."""
    console = console or Console()
    with console.capture() as captured:
        console.print(Text(f"cc-boost {version('cc-boost')}", style="bold"))
        facts = Table.grid(padding=(0, 2))
        for name, value in _facts(settings, url):
            facts.add_row(Text(f"  {name}", style="cyan"), Text(value, overflow="fold"))
        console.print(facts)
        console.print(Text("\nIn another terminal:", style="bold"))
        for command in _commands(settings, url):
            console.print(Text(f"  {command}", style="green"), soft_wrap=True)  # not wrapped, so that it can be copied
        for warning in [*startup_warnings(settings), *filter(None, (short_answers(settings),))]:
            console.print(Text(f"\nWarning: {warning}", style="yellow"))
    return captured.get().rstrip("\n") + "\n"


def claude_command(url: str, key: str) -> str:
    """The command that starts Claude Code by hand. An auth token is used at once; an API key needs the user's
    approval.
    """
    return f"ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN={key} claude"


def _facts(settings: Settings, url: str) -> list[tuple[str, str]]:
    everywhere = ", and at every address of this machine" if settings.host in _EVERY_INTERFACE else ""
    planner = ", ".join(names_of(settings.boost_model))
    at = "" if settings.boost_base_url is None else f" at {settings.boost_base_url}"
    boost = f"boost (planner {planner}{at})"
    layers = [boost if name == "boost" else name for name in layers_in_use(settings)]
    facts = [
        ("listens", url + everywhere),
        *_providers(settings),
        ("opus", ", ".join(names_of(settings.big_model))),
        ("sonnet", ", ".join(names_of(settings.middle_model))),
        ("haiku", ", ".join(names_of(settings.small_model))),
        ("layers", ", ".join(layers)),
    ]
    if settings.inspector:
        facts.append(("inspector", f"{url}/ui"))
    return facts


def _providers(settings: Settings) -> list[tuple[str, str]]:
    """The default upstream and the others, each with its profile."""
    facts = []
    if settings.has_default:
        facts.append(("provider", f"{settings.openai_base_url} (profile {settings.provider})"))
    for name, upstream in settings.upstreams.items():
        how = "Anthropic's protocol" if upstream.is_anthropic else f"profile {upstream.provider}"
        facts.append((name, f"{upstream.base_url} ({how})"))
    return facts


def _commands(settings: Settings, url: str) -> list[str]:
    key = "your-key" if settings.needs_client_key else "any-text"
    return [f"cc-boost claude --url {url}", claude_command(url, key)]
