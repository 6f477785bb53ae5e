"""Commands with subcommands: ``cc-boost service`` and ``cc-boost keys``."""

from typing import Annotated, Any

import typer

ENV_FILE = "A file to read instead of .env. Your own configuration file is read as well."

service = typer.Typer(help="Run the proxy as a user service of systemd or launchd.", no_args_is_help=True)


@service.command("install")
def service_install() -> None:
    """Start the proxy now and at every login, with the settings of your configuration file.

    Run it again after you change the settings. Exit code 0: it answers; 1: it can't be started; 2: bad settings.
    """
    from .service import install

    raise typer.Exit(install())


@service.command("status")
def service_status() -> None:
    """Show whether the service is installed and answers, and where its settings and log are.

    Exit code 0: it answers; 1: it does not.
    """
    from .service import status

    raise typer.Exit(status())


@service.command("remove")
def service_remove() -> None:
    """Stop the service and delete its file. Your configuration file stays."""
    from .service import remove

    raise typer.Exit(remove())


keys = typer.Typer(
    help="Make, list and revoke the keys of KEYS_FILE, each with a name and limits.", no_args_is_help=True
)

_KEYS_FILE = "The file of keys, in place of KEYS_FILE."


@keys.command("add")
def keys_add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who gets the key, as logs and limits name them.")],
    expires: Annotated[
        str | None, typer.Option(metavar="DATE", help="A day, from whose beginning in UTC on it is refused, or a time.")
    ] = None,
    tier: Annotated[
        list[str] | None, typer.Option(help="A tier that it may use: big, middle or small; may be given several times.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model that it may use, with * for any characters; may be repeated.")
    ] = None,
    requests_per_minute: Annotated[int | None, typer.Option(help="Requests in any 60 seconds.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(help="Tokens read and written in any 60 seconds.")] = None,
    usd_per_day: Annotated[float | None, typer.Option(help="US dollars in a day of UTC; it needs LEDGER.")] = None,
    usd_per_month: Annotated[float | None, typer.Option(help="US dollars in a month of UTC; it needs LEDGER.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Keep the key itself in the file, not its SHA-256.")] = False,
    file: Annotated[str | None, typer.Option(help=_KEYS_FILE)] = None,
    env_file: Annotated[str | None, typer.Option(help=ENV_FILE)] = None,
) -> None:
    """Make a key, write it into the file with its limits, and print it: it is shown this once.

    Running proxies take it within five seconds. Exit code 0: written; 2: it can't be, and the file is as it was.
    """
    from .keys import add_key

    fields: dict[str, Any] = {
        "expires": expires,
        "tiers": tier,
        "models": model,
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "usd_per_day": usd_per_day,
        "usd_per_month": usd_per_month,
    }
    fields = {field: value for field, value in fields.items() if value is not None}
    raise typer.Exit(add_key(name, fields, plain=plain, file=file, env_file=env_file))


@keys.command("list")
def keys_list(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    file: Annotated[str | None, typer.Option(help=_KEYS_FILE)] = None,
    env_file: Annotated[str | None, typer.Option(help=ENV_FILE)] = None,
) -> None:
    """List the keys with their limits, without the keys themselves.

    Exit code 0: listed; 2: the file can't be used.
    """
    from .keys import list_keys

    raise typer.Exit(list_keys(as_json=json, file=file, env_file=env_file))


@keys.command("revoke")
def keys_revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key.")],
    file: Annotated[str | None, typer.Option(help=_KEYS_FILE)] = None,
    env_file: Annotated[str | None, typer.Option(help=ENV_FILE)] = None,
) -> None:
    """Refuse a key from now on, in running proxies within five seconds. Its entry stays, marked as revoked.

    Exit code 0: it is revoked; 2: there is no such key, or the file can't be changed.
    """
    from .keys import revoke_key

    raise typer.Exit(revoke_key(name, file=file, env_file=env_file))
