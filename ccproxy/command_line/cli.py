"""The ``cc-boost`` command. Each subcommand imports only what it needs, so that the others start quickly."""

import os
import sys
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from ..standard_streams import open_standard_streams
from .groups import ENV_FILE, keys, service


class DemoApi(Enum):
    """The APIs that the demo's provider speaks."""

    chat = "chat"
    responses = "responses"


class Shell(Enum):
    """The shells that ``cc-boost env`` can print lines for."""

    sh = "sh"
    fish = "fish"
    powershell = "powershell"
    cmd = "cmd"


class _WithVariables:
    """Adds all variables and their defaults at the end of the help."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from ..settings import variables

        with formatter.section("Variables, from the environment or .env (default in brackets)"):
            formatter.write_dl(
                [(name, f"{text} [{default}]" if default else text) for name, default, text in variables()]
            )


class _Group(_WithVariables, TyperGroup):
    pass


class _Serve(_WithVariables, TyperCommand):
    pass


_OF_ALL = ("-h", "--help", "--version", "--install-completion", "--show-completion")
_COMPLETING = "_CC_BOOST_COMPLETE"  # set by a shell that asks for completions

app = typer.Typer(
    cls=_Group,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


app.add_typer(service, name="service")
app.add_typer(keys, name="keys")


def main() -> None:
    """Run the command line; without a subcommand it serves."""
    open_standard_streams()
    arguments = sys.argv[1:]
    is_serve = not arguments or (arguments[0].startswith("-") and arguments[0] not in _OF_ALL)
    if is_serve and _COMPLETING not in os.environ:
        arguments.insert(0, "serve")
    app(args=arguments, prog_name="cc-boost")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"cc-boost {version('cc-boost')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit."),
    ] = False,
) -> None:
    """Use Claude Code, or any Anthropic Messages client, with any OpenAI-compatible provider.

    Without a command: serve, with the options of "cc-boost serve".
    """


@app.command(cls=_Serve)
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; overrides HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; overrides PORT.")] = None,
    log_level: Annotated[str | None, typer.Option(help="How much to log; overrides LOG_LEVEL.")] = None,
    env_file: Annotated[str | None, typer.Option(help=ENV_FILE)] = None,
) -> None:
    """Run the proxy until Ctrl-C.

    On SIGHUP it reads the settings again. New requests use them; answers in progress finish with the old ones.
    """
    from ..serving import RenewableApp, Shutdown, load_settings_or_exit, local_url
    from ..serving import serve as serve_app

    options = {"host": host, "port": port, "log_level": log_level}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    settings = load_settings_or_exit(env_file, **given)
    from ..app import create_app
    from ..settings import Settings

    url = local_url(settings.host, settings.port)
    shutdown = Shutdown(settings.shutdown_timeout)
    make = partial(create_app, shutdown=shutdown)
    load = partial(Settings.load, env_file, **given)
    app = RenewableApp(make(settings), settings, load=load, make=make, shutdown=shutdown)
    if sys.stdout.isatty():
        from .banner import banner

        serve_app(app, settings, announce=banner(settings, url), warn=not sys.stderr.isatty())
    else:
        from .banner import claude_command

        use = claude_command(url, "your-key" if settings.needs_client_key else "any-text")
        urls = [settings.openai_base_url] if settings.has_default else []
        urls += [upstream.base_url for upstream in settings.upstreams.values()]
        announce = f"cc-boost: {url} -> {', '.join(urls)}. Use it: {use}"
        serve_app(app, settings, announce=announce)


@app.command()
def demo(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the requests that the provider receives.")
    ] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Keep proxy and provider running, to try Claude Code with them.")
    ] = False,
    boost: Annotated[
        bool, typer.Option("--boost", help="Let a planner without tools decide, and the provider carry out its plan.")
    ] = False,
    prompted: Annotated[
        bool, typer.Option("--prompted", help="Use a model without tools, whose prompt describes them.")
    ] = False,
    search: Annotated[bool, typer.Option("--search", help="Show a web search, with a built-in SearXNG.")] = False,
    vision: Annotated[bool, typer.Option("--vision", help="Show an image with a model that accepts none.")] = False,
    api: Annotated[DemoApi, typer.Option(help="The API that the proxy uses to ask the provider.")] = DemoApi.chat,
    port: Annotated[int, typer.Option(help="Port of the proxy, with --serve.", min=1, max=65535)] = 8082,
) -> None:
    """Show the proxy at work with a built-in provider; needs no key and no network."""
    from ..demo import run_conversation, run_search, run_servers, run_vision

    asked: Literal["chat", "responses"] = "responses" if api is DemoApi.responses else "chat"
    if search + vision + (boost or prompted) > 1:
        raise typer.BadParameter("--search, --vision, and --boost or --prompted can't be combined")
    if vision and serve:
        raise typer.BadParameter("--vision can't be combined with --serve")
    if serve:
        run_servers(port, boost=boost, prompted=prompted, search=search, api=asked)
    elif search:
        raise typer.Exit(run_search(verbose=verbose, api=asked))
    elif vision:
        raise typer.Exit(run_vision(verbose=verbose, api=asked))
    else:
        raise typer.Exit(run_conversation(verbose=verbose, boost=boost, prompted=prompted, api=asked))


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def claude(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGS]...", help="Claude Code's own arguments.", show_default=False)
    ] = None,
    url: Annotated[str | None, typer.Option(help="Use the cc-boost at this URL instead of starting one.")] = None,
    proxy_log: Annotated[
        str | None, typer.Option(metavar="FILE", help="The file that the proxy appends its log to, by LOG_LEVEL.")
    ] = None,
    env_file: Annotated[str | None, typer.Option(help=ENV_FILE)] = None,
) -> None:
    """Run Claude Code with its own proxy.

    The proxy starts on a free port of this machine, and stops when Claude Code ends.

    Write cc-boost's own options before Claude Code's: cc-boost claude --proxy-log p.log -p "Say hello."
    Everything after -- goes to Claude Code: cc-boost claude -- --help
    """
    from .launch import run_claude

    raise typer.Exit(run_claude(arguments or [], url=url, env_file=env_file, proxy_log=proxy_log))


@app.command()
def env(
    url: Annotated[
        str | None, typer.Option(help="The proxy's URL. Default: from HOST and PORT.", show_default=False)
    ] = None,
    shell: Annotated[Shell, typer.Option(help="The shell that will run the lines.")] = Shell.sh,
    env_file: Annotated[str | None, typer.Option(help=ENV_FILE)] = None,
) -> None:
    """Print the variables that point claude at the proxy.

    \b
    Run the lines in the shell in which you start claude:
      bash, zsh    eval "$(cc-boost env)"
      fish         cc-boost env --shell fish | source
      PowerShell   cc-boost env --shell powershell | Out-String | Invoke-Expression
      cmd          cc-boost env --shell cmd > %TEMP%\\e.cmd & call %TEMP%\\e.cmd & del %TEMP%\\e.cmd
    """
    from .launch import exports

    typer.echo(exports(url=url, shell=shell.value, env_file=env_file))


@app.command()
def setup(
    url: Annotated[
        str | None, typer.Option(help="The proxy's URL. Default: from HOST and PORT.", show_default=False)
    ] = None,
    project: Annotated[
        bool, typer.Option("--project", help="Write to .claude/settings.json of this folder instead of your home.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Undo everything that setup has written.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask; for scripts.")] = False,
    env_file: Annotated[str | None, typer.Option(help=ENV_FILE)] = None,
) -> None:
    """Create your configuration file, and point every Claude Code at the proxy.

    Writes the proxy's variables to Claude Code's settings, which its background agents, editors and the desktop app
    read too. It shows the changes first, and keeps the rest of the file. The proxy need not be running.

    Exit code 0: written; 1: declined; 2: bad settings, or a file that can't be changed.
    """
    from .setup import run_setup

    raise typer.Exit(run_setup(url=url, project=project, undo=undo, yes=yes, env_file=env_file))


@app.command()
def config(
    env_file: Annotated[str | None, typer.Option(help=ENV_FILE)] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Show what cc-boost serve reads, instead of cc-boost claude.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show which files are read, which settings are set, and where each comes from.

    Keys are not shown. Exit code 0: the settings are valid; 2: bad settings.
    """
    from .config import show_config

    raise typer.Exit(show_config(env_file=env_file, serve=serve, as_json=json))


@app.command()
def route(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A JSON body of /v1/messages; - for standard input.")],
    header: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="A header of the request; can be repeated.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    env_file: Annotated[str | None, typer.Option(help=ENV_FILE)] = None,
) -> None:
    """Explain where a request would go, without sending it.

    Shows which rule of ROUTES_FILE matches, why earlier rules don't, and which models are asked in which order.

    Exit code 0: done; 2: bad settings, or a file that is not such a body.
    """
    from .route import show_route

    raise typer.Exit(show_route(file, header or [], env_file=env_file, as_json=json))


@app.command()
def usage(
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="day, session, model, key, project, agent, class, upstream, tier, prompt or status; else model.",
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DAY", help="YYYY-MM-DD, or so many days with today: 7d. Else today.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON: the sums with --by, else the rows.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="The same as CSV.")] = False,
    cache: Annotated[
        bool, typer.Option("--cache", help="Instead: requests that have lost what was cached, and where they differ.")
    ] = False,
    env_file: Annotated[str | None, typer.Option(help=ENV_FILE)] = None,
) -> None:
    """Show what was used and what it cost, by the ledger.

    Days are those of this machine's time zone, costs US dollars. The proxy writes the ledger with LEDGER=true.

    Exit code 0: shown; 1: the ledger can't be read; 2: LEDGER is not set, or bad settings.
    """
    from .launch import settings_or_exit
    from .money import show_usage

    settings = settings_or_exit(env_file, openai_api_key="not used")
    raise typer.Exit(show_usage(settings, by=by, since=since, as_json=json, as_csv=csv, breaks=cache))


@app.command()
def statusline(
    settings: Annotated[
        bool, typer.Option("--settings", help="Print what to paste into Claude Code's settings, and do nothing else.")
    ] = False,
) -> None:
    """Print a line for Claude Code's status line, about the session that it tells of on standard input.

    Cost and tokens of the session, the model that has answered, and how full the window is: by the ledger, or where
    LEDGER is not set by the proxy of ANTHROPIC_BASE_URL. cc-boost setup writes it into Claude Code's settings.
    """
    from .money import run_status_line, settings_block

    if settings:
        typer.echo(settings_block())
        return
    raise typer.Exit(run_status_line())


@app.command()
def replay(
    id: Annotated[
        str, typer.Argument(metavar="ID", help="The exchange's id: the end of its address in the inspector.")
    ],
    url: Annotated[
        str | None, typer.Option(help="The proxy's URL. Default: from HOST and PORT.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    env_file: Annotated[str | None, typer.Option(help=ENV_FILE)] = None,
) -> None:
    """Send a request of the inspector again, and show what is different in the answer.

    The running proxy sends it, and it costs what it costs. Exchanges of the last days are there with HISTORY=true.
    The key is the first of ADMIN_API_KEY, else of ANTHROPIC_API_KEY.

    Exit code 0: it was answered; 1: with an error, or the proxy can't be asked; 2: bad settings.
    """
    from .replay import run_replay

    raise typer.Exit(run_replay(id, url=url, as_json=json, env_file=env_file))


@app.command()
def doctor(
    write_env: Annotated[
        bool, typer.Option("--write-env", help="Write the PROVIDER lines that fit to .env, and keep the rest.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    env_file: Annotated[str | None, typer.Option(help="A file to read and write instead of .env.")] = None,
) -> None:
    """Check what works with the provider, and say how to fix the rest.

    It sends about 15 small requests, one after the other.

    Exit code 0: it works, perhaps with warnings; 1: there are problems; 2: bad settings.
    """
    from ..doctor import run

    raise typer.Exit(run(env_file=env_file, as_json=json, write_env=write_env))


@app.command()
def report(
    url: Annotated[
        str | None, typer.Option(help="The running proxy's URL. Default: from HOST and PORT.", show_default=False)
    ] = None,
    doctor: Annotated[bool, typer.Option("--doctor/--no-doctor", help="Ask the provider, as the doctor does.")] = True,
    last: Annotated[int, typer.Option(help="How many of the last exchanges to show.", min=0, max=100)] = 5,
    env_file: Annotated[str | None, typer.Option(help=ENV_FILE)] = None,
) -> None:
    """Write what to attach to a report of a bug, to standard output.

    Versions, settings without secrets, the doctor's result, and the last exchanges of the running proxy: their fields,
    sizes and errors, without the texts of the conversation. The proxy keeps exchanges where INSPECTOR=true.

    Exit code 0: written; 2: written, with bad settings in it.
    """
    from ..report import run_report

    raise typer.Exit(run_report(url=url, env_file=env_file, doctor=doctor, last=last))
