"""Every setting of the proxy: its variable, its default, its meaning and its accepted values.

Only this module reads the environment and ``.env``. Each field is the variable of the same name in upper case. The
help text and the messages about invalid values are made from the fields.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from ccproxy_middleware.boost import PLACEHOLDERS
from ccproxy_middleware.conversion.providers import PROFILES
from ccproxy_middleware.models import DEFAULT_UPSTREAM
from ccproxy_middleware.routing import Route

from ..prices import FilePrices, PricesFile
from .checks import Checked
from .configuration import ConfigurationError, describe, find_lookalikes
from .custom_headers import HEADER_PREFIX, CustomHeadersSource
from .files import check_files, names_by_file, origins, settings_files, unread_files
from .keys import KeysFile
from .layer_names import LAYERS
from .model_names import MODELS, ModelNames
from .routes_file import RoutesFile
from .search_settings import KEY, NAME, URL, WebSearch, WebSearchKey, WebSearchURL
from .setting_values import (
    AZURE_VERSION,
    AZURE_VERSION_PATTERN,
    context_setting,
    count_setting,
    seconds_setting,
    setting,
    split,
)
from .upstream import Upstream
from .upstreams import UpstreamsSource, parted, upstream_variables

ModelList = Annotated[str, AfterValidator(ModelNames)]
Tier = Literal["BIG_MODEL", "MIDDLE_MODEL", "SMALL_MODEL"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

_URL = "an http:// or https:// URL with a host, without user, query and fragment"
_KEY = "a key of printable ASCII characters"


class Settings(Checked):
    """The proxy's settings, from arguments, then the environment, then ``.env`` in the working directory.

    An empty variable counts as unset. Raises ConfigurationError for invalid values and TypeError for an argument that
    is
    not a setting.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8-sig",  # editors on Windows may begin a file with a byte order mark
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )

    openai_api_key: SecretStr = setting(
        None,
        "The provider's key, or several with commas. Required if its models are used; any text for a local server.",
        "one or several keys of printable ASCII characters, separated by commas",
    )
    anthropic_api_key: SecretStr | None = setting(
        None,
        "The key that clients must send; separate several with commas. Unset: any program may call.",
        "one or several keys of printable ASCII characters, separated by commas",
    )
    keys_file: Annotated[str, AfterValidator(KeysFile)] | None = setting(
        None, "Further clients' keys, with names and limits: a TOML file, which cc-boost keys makes.", "a TOML file"
    )
    admin_api_key: SecretStr | None = setting(
        None,
        "The only keys that open /ui and /metrics, by commas. Unset: client keys do, /ui only if there is one.",
        "one or several keys of printable ASCII characters, separated by commas",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = setting(
        (),
        "Without client keys: host names other than localhost that requests to a loopback address may use.",
        "host names without port, separated by commas, or *",
    )
    openai_base_url: str = setting("https://api.openai.com/v1", "The provider's base URL.", _URL)
    azure_api_version: str | None = setting(
        None,
        "Set it for Azure: sends the api-key header and the api-version parameter.",
        AZURE_VERSION,
        pattern=AZURE_VERSION_PATTERN,
    )
    provider: str = setting(
        None, "The provider's profile. Unset: detected from the base URL.", f"one of {', '.join(PROFILES)}"
    )
    provider_options: Annotated[Mapping[str, Any], NoDecode] = setting(
        {},
        "Switches that override the provider's profile.",
        "a JSON object of switches",
        repr=False,
    )
    openai_rpm: int | None = count_setting(None, "Like UPSTREAM_<NAME>_RPM, for this provider.", least=1)
    openai_tpm: int | None = count_setting(None, "Like UPSTREAM_<NAME>_TPM, for this provider.", least=1)
    openai_concurrency: int | None = count_setting(
        None, "Like UPSTREAM_<NAME>_CONCURRENCY, for this provider.", least=1
    )
    big_model: ModelList = setting("gpt-4o", "Model for opus and other Claude names, then its standbys.", MODELS)
    middle_model: ModelList = setting(None, "Model for sonnet. Unset: BIG_MODEL.", MODELS)
    small_model: ModelList = setting("gpt-4o-mini", "Model for haiku.", MODELS)
    big_context: int | None = context_setting("BIG_MODEL")
    middle_context: int | None = context_setting("MIDDLE_MODEL")
    small_context: int | None = context_setting("SMALL_MODEL")
    classifier_model: ModelList | None = setting(
        None,
        "Model that answers Claude Code's safety questions in auto mode. Unset: the model of their tier.",
        MODELS,
    )
    safeguards_model: ModelList | None = setting(
        None, "Judges tool calls for clients in auto mode. Unset: clients ask themselves.", MODELS
    )
    vision_model: ModelList | None = setting(
        None,
        "Model that describes images for models without vision. Unset: a note replaces each image.",
        MODELS,
    )
    safeguards_timeout: float = seconds_setting(
        20.0, "Seconds that the end of an answer may wait for the verdicts on its tool calls."
    )
    web_search: WebSearch = NAME
    web_search_url: WebSearchURL = URL
    web_search_key: WebSearchKey = KEY
    host: str = setting("0.0.0.0", "Address to listen on.", "an address or host name", pattern=r"^[^\s/]+$")  # noqa: S104
    port: int = setting(8082, "Port to listen on.", "a whole number from 1 to 65535", ge=1, le=65535)
    log_level: LogLevel = setting(
        "WARNING", "How much to log, to standard error.", f"one of {', '.join(get_args(LogLevel))}"
    )
    log_format: Literal["auto", "text", "json"] = setting(
        "auto", "text (key=value), json, or auto: text on a terminal, otherwise JSON.", "auto, text or json"
    )
    log_bodies: bool = setting(
        False, "Log the bodies of requests and answers at DEBUG, with secrets taken out.", "true or false"
    )
    max_tokens_limit: int = setting(
        4096, "The largest max_tokens that the provider is asked for.", "a whole number of at least 1", ge=1
    )
    min_tokens_limit: int | None = setting(
        None,
        "The smallest max_tokens that the provider is asked for.",
        "a whole number from 1 to MAX_TOKENS_LIMIT",
        ge=1,
    )
    request_timeout: float = seconds_setting(
        90.0, "Seconds to wait for the provider's next byte; does not limit a stream that keeps moving."
    )
    stream_idle_timeout: float = seconds_setting(
        600.0, "Seconds that a provider's answer may last with nothing but comments or whitespace."
    )
    max_answer: int = count_setting(
        64, "Largest size in megabytes of a provider's answer that is held whole: JSON, or an error.", least=1
    )
    max_retries: int = count_setting(2, "Retries after a failure, only before the first byte.")
    max_concurrency: int = count_setting(0, "Concurrent requests of a worker; more get a 529. 0: no limit.")
    max_connections_per_address: int = count_setting(
        0, "Concurrent connections from one address to a worker. 0: no limit."
    )
    client_timeout: float = seconds_setting(
        60.0, "Seconds that a client may pause while it sends a body or reads an answer."
    )
    max_body_memory: int = count_setting(
        256,
        "Megabytes of memory for all request bodies of a worker; requests beyond get a 529. 0: no limit.",
    )
    shutdown_timeout: float = setting(
        120.0,
        "Seconds that answers in progress get to finish after a SIGTERM or a reload.",
        "a number of seconds of at least 0",
        ge=0,
        allow_inf_nan=False,
    )
    metrics: bool = setting(True, "Serve Prometheus metrics at /metrics.", "true or false")
    inspector: bool = setting(
        False, "Serve the page /ui, which shows every exchange; keeps bodies in memory.", "true or false"
    )
    http_transport: Literal["aiohttp", "httpx"] = setting(
        "aiohttp",
        "The HTTP library for requests to providers.",
        "aiohttp or httpx",
    )
    ccproxy_layers: Annotated[tuple[str, ...], NoDecode] = setting(
        LAYERS,
        "The layers, outermost first. Drop or reorder them, or add your own as package.module:Class.",
        f"names out of {', '.join(LAYERS)} and import paths, separated by commas",
    )
    enable_boost_support: Annotated[tuple[Tier, ...], NoDecode] = setting(
        (),
        "The tiers that boost is used for.",
        f"NONE, or one or several of {', '.join(get_args(Tier))}, separated by commas",
    )
    boost_base_url: str | None = setting(
        None, "The planner's base URL; required with boost, unless BOOST_MODEL names an upstream.", _URL
    )
    boost_api_key: SecretStr | None = setting(None, "The planner's key; required with its base URL.", _KEY)
    boost_model: ModelList = setting("gpt-4o", "The planner's model.", MODELS)
    boost_wrapper_template: str | None = setting(
        None,
        "The planner's prompt, or the path of a file that has it. Unset: the built-in prompt.",
        "a text with " + ", ".join(f"{{{name}}}" for name in PLACEHOLDERS) + " (at least one), or a file",
    )
    custom_headers: Annotated[dict[str, str], NoDecode] = setting(
        {},
        "A header for the provider: CUSTOM_HEADER_X_API_KEY=v sends X-API-KEY: v; overrides the proxy's own.",
        "CUSTOM_HEADER_<NAME>=value, one variable for each header",
        repr=False,
    )
    routes_file: Annotated[str, AfterValidator(RoutesFile)] | None = setting(
        None, "A TOML file with rules that send requests to other models.", "a TOML file"
    )
    queue_timeout: float = seconds_setting(
        60.0, "Seconds that a request may wait because of an upstream's RPM, TPM or CONCURRENCY."
    )
    state_url: SecretStr | None = setting(
        None,
        "A Redis or Valkey server where workers and hosts share state. Unset: each has its own.",
        "a URL that begins with redis://, rediss://, valkey://, valkeys:// or unix://; it needs the extra redis",
    )
    ledger: SecretStr | None = setting(
        None,
        "The database that gets a row of numbers for each exchange. true: a file of yours; unset: none.",
        "true, or a URL that begins with sqlite:///, or with postgresql://, which needs the extra postgres",
    )
    ledger_days: int = count_setting(90, "Days for which the ledger keeps its rows.", least=1)
    history: bool = setting(
        False, "Keep what the inspector shows, both sides of each exchange, in the database of LEDGER.", "true or false"
    )
    history_days: int = count_setting(7, "Days for which HISTORY keeps an exchange.", least=1)
    history_bytes: int = count_setting(
        1_000_000_000, "Bytes that HISTORY takes, about; the oldest go.", least=1_000_000
    )
    prices_file: Annotated[str, AfterValidator(PricesFile)] | None = setting(
        None, "Prices of your own, for models that cost something else, or that nobody else has.", "a TOML file"
    )
    # Keep this check last: it sees all the others.
    upstreams: Annotated[Mapping[str, Upstream], NoDecode] = setting(
        {}, "Further providers by name.", "UPSTREAM_<NAME>_* variables", repr=False
    )

    _lookalikes: tuple[str, ...] = PrivateAttr(())  # see lookalikes

    def __init__(self, **values: Any) -> None:
        known = type(self).model_fields
        unknown = [name for name in values if name not in known and not name.startswith("_")]
        if unknown:
            raise TypeError(f"no such setting: {', '.join(unknown)}")
        try:
            super().__init__(**values)
        except ValidationError as exc:
            files = {name: path for name, path in origins(_paths(values)).items() if name.lower() not in values}
            problems = describe(exc, known, files)
            raise ConfigurationError(problems) from None  # the original contains the values
        except (OSError, UnicodeDecodeError):
            check_files(_paths(values))
            raise

    @classmethod
    def load(cls, env_file: str | None = None, *, any_env: bool = True, **values: Any) -> Self:
        """The settings of a process: like the constructor, but the user's configuration file is also read, below
        ``.env``.

        ``env_file`` is read instead of ``.env``. ``any_env``: see :func:`settings_files`.
        """
        if env_file is not None and not Path(env_file).is_file():
            raise ConfigurationError([f"--env-file: given {env_file!r}; accepted: a file that exists"])
        files = settings_files(env_file, any_env=any_env)
        paths = tuple(file.path for file in files if not file.left_out)
        try:
            check_files(paths)
            settings = cls(_env_file=paths, **values)
        except ConfigurationError as exc:
            raise ConfigurationError([*exc.problems, *unread_files(files)]) from None
        names, own = names_by_file(paths)
        known = [name.upper() for name in cls.model_fields if name not in ("custom_headers", "upstreams")]
        names = [*os.environ, *(name for name in names if not name.upper().startswith(HEADER_PREFIX))]
        known += upstream_variables({parts[0] for name in names if (parts := parted(name))})
        settings._lookalikes = find_lookalikes(names, known, own)
        return settings

    @staticmethod
    def explicit(**values: Any) -> "Settings":
        """Settings from arguments only; neither the environment nor ``.env`` is read."""
        return _Explicit(**values)

    @property
    def lookalikes(self) -> tuple[str, ...]:
        """A warning for each variable of the process whose name is close to one of ours."""
        return self._lookalikes

    @property
    def client_keys(self) -> tuple[str, ...]:
        """The keys in ANTHROPIC_API_KEY."""
        return () if self.anthropic_api_key is None else split(self.anthropic_api_key.get_secret_value())

    @property
    def admin_keys(self) -> tuple[str, ...]:
        """The keys in ADMIN_API_KEY."""
        return () if self.admin_api_key is None else split(self.admin_api_key.get_secret_value())

    @property
    def needs_client_key(self) -> bool:
        """Whether a client must send a key."""
        return bool(self.client_keys) or self.keys_file is not None

    def upstream(self, name: str) -> Upstream:
        """One of ``upstreams``, or ``default``. Raises KeyError."""
        if name != DEFAULT_UPSTREAM:
            return self.upstreams[name]
        return Upstream(
            DEFAULT_UPSTREAM,
            self.openai_base_url,
            tuple(map(SecretStr, split(self.openai_api_key.get_secret_value()))),
            api=self.provider_options.get("api", "auto"),
            provider=self.provider,
            provider_options=self.provider_options,
            azure_api_version=self.azure_api_version,
            headers=self.custom_headers,
            rpm=self.openai_rpm,
            tpm=self.openai_tpm,
            concurrency=self.openai_concurrency,
        )

    def secrets(self) -> tuple[str, ...]:
        """Every value that must not be shown: keys of providers and clients, header values and the secrets in them."""
        upstreams = (self.upstream(DEFAULT_UPSTREAM), *self.upstreams.values())
        found = [*(secret for upstream in upstreams for secret in upstream.secrets()), *self.client_keys]
        found += self.admin_keys
        if isinstance(self.keys_file, KeysFile):
            found += [key.text for key in self.keys_file.named() if key.text is not None]
        found += [key.get_secret_value() for key in (self.boost_api_key, self.state_url, self.web_search_key) if key]
        if self.ledger is not None and (password := urlsplit(self.ledger.get_secret_value()).password):
            found += [self.ledger.get_secret_value(), password, unquote(password)]
        return tuple(dict.fromkeys(secret for secret in found if secret))

    @property
    def has_default(self) -> bool:
        """Whether the default upstream has a key; without one, none of its models is used."""
        return bool(self.openai_api_key.get_secret_value())

    @property
    def routes(self) -> tuple[Route, ...]:
        """The rules in ROUTES_FILE."""
        return self.routes_file.routes if isinstance(self.routes_file, RoutesFile) else ()

    @property
    def prices(self) -> FilePrices | None:
        """The prices in PRICES_FILE."""
        return self.prices_file.prices if isinstance(self.prices_file, PricesFile) else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        headers = CustomHeadersSource(settings_cls, dotenv_settings, env_settings)
        upstreams = UpstreamsSource(settings_cls, dotenv_settings, env_settings)
        return init_settings, headers, upstreams, env_settings, dotenv_settings


class _Explicit(Settings):
    """Settings from arguments only."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **named: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def _paths(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The files that the arguments of a Settings name."""
    paths = values.get("_env_file", ".env")
    return (paths,) if isinstance(paths, str) else tuple(paths or ())
