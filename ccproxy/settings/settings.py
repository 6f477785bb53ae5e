"""Every setting of the proxy: its variable, its default, what it means and what it may be.

The only place that reads the environment and ``.env``. Each field is the variable of the same name in upper
case; the help text and the messages about bad values are made from the fields.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import PrivateAttr, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from ccproxy_middleware.boost import PLACEHOLDERS, Template
from ccproxy_middleware.conversion.providers import PROFILES, detect_provider, resolve_profile

from .configuration import ConfigurationError, describe, find_lookalikes
from .custom_headers import HEADER_PREFIX, CustomHeadersSource, header_problems
from .files import names_by_file, origins, settings_files, unread_files, unreadable
from .layer_names import LAYERS, check_layers
from .search_settings import KEY, NAME, URL, WebSearch, WebSearchKey, WebSearchURL
from .setting_values import check_hosts, context_setting, read_json, read_key, read_text, read_url, setting, split

Tier = Literal["BIG_MODEL", "MIDDLE_MODEL", "SMALL_MODEL"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

_URL = "an http:// or https:// URL with a host, without user, query and fragment"
_KEY = "a key of printable ASCII characters"


class Settings(BaseSettings):
    """The proxy's settings, from arguments, then the environment, then ``.env`` of the working directory.

    An empty variable is the same as an unset one. Raises ConfigurationError for values that can't be used and
    TypeError for an argument that is no setting.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )

    openai_api_key: SecretStr = setting(..., "The provider's key; required. Any text will do for a local server.", _KEY)
    anthropic_api_key: SecretStr | None = setting(
        None,
        "What clients must send as their key; a comma separates several. Unset: every program may call.",
        "one or several keys of printable ASCII characters, separated by commas",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = setting(
        (),
        "Without ANTHROPIC_API_KEY: names beside localhost by which the proxy may be called on a loopback address.",
        "host names without port, separated by commas, or *",
    )
    openai_base_url: str = setting("https://api.openai.com/v1", "The provider's base URL.", _URL)
    azure_api_version: str | None = setting(
        None,
        "Set it to talk to Azure: api-key header and api-version query.",
        "an api-version such as 2024-10-21",
        pattern=r"^[0-9A-Za-z.-]+$",
    )
    provider: str = setting(
        None, "What the provider can do. Unset: found from the base URL.", f"one of {', '.join(PROFILES)}"
    )
    provider_options: Annotated[Mapping[str, Any], NoDecode] = setting(
        {},
        "Switches of the provider's profile that are to be set otherwise.",
        "a JSON object of switches",
        repr=False,
    )
    big_model: str = setting("gpt-4o", "Model for opus and other Claude names.", "a model", min_length=1)
    middle_model: str = setting(None, "Model for sonnet. Unset: BIG_MODEL.", "a model", min_length=1)
    small_model: str = setting("gpt-4o-mini", "Model for haiku.", "a model", min_length=1)
    big_context: int | None = context_setting("BIG_MODEL")
    middle_context: int | None = context_setting("MIDDLE_MODEL")
    small_context: int | None = context_setting("SMALL_MODEL")
    classifier_model: str | None = setting(
        None,
        "Model for the questions of Claude Code's auto mode, whether an action is safe. Unset: that of their tier.",
        "a model",
        min_length=1,
    )
    safeguards_model: str | None = setting(
        None,
        "Judges tool calls for clients in auto mode: one of the provider's models. Unset: clients ask themselves.",
        "a model",
        min_length=1,
    )
    safeguards_timeout: float = setting(
        20.0,
        "Seconds that the end of an answer may wait for the verdicts on its tool calls.",
        "a number of seconds above 0",
        gt=0,
        allow_inf_nan=False,
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
        "auto", "Lines of key=value, or of JSON; auto: text on a terminal, else JSON.", "auto, text or json"
    )
    log_bodies: bool = setting(
        False, "Log the bodies of requests and answers at DEBUG, with secrets taken out.", "true or false"
    )
    max_tokens_limit: int = setting(
        4096, "The most max_tokens that is asked of the provider.", "a whole number of at least 1", ge=1
    )
    min_tokens_limit: int | None = setting(
        None, "The least max_tokens that is asked.", "a whole number from 1 to MAX_TOKENS_LIMIT", ge=1
    )
    request_timeout: float = setting(
        90.0,
        "Seconds to wait for the provider's next byte; not a limit on a stream that moves.",
        "a number of seconds above 0",
        gt=0,
        allow_inf_nan=False,
    )
    stream_idle_timeout: float = setting(
        600.0,
        "Seconds for which comments alone, or blanks, may keep an answer of the provider alive.",
        "a number of seconds above 0",
        gt=0,
        allow_inf_nan=False,
    )
    max_answer: int = setting(
        64,
        "Megabytes that an answer of the provider may have that must be held whole: JSON, or an error.",
        "a whole number of at least 1",
        ge=1,
    )
    max_retries: int = setting(
        2,
        "Tries after a failed one, before the first byte only.",
        "a whole number of at least 0",
        ge=0,
    )
    max_concurrency: int = setting(
        0,
        "Requests that are served at once by a worker; one more is answered 529. 0: no limit.",
        "a whole number of at least 0",
        ge=0,
    )
    max_connections_per_address: int = setting(
        0,
        "Connections that one address may have to a worker at a time. 0: no limit.",
        "a whole number of at least 0",
        ge=0,
    )
    client_timeout: float = setting(
        60.0,
        "Seconds that a client may send nothing of a request's body, or take nothing of an answer.",
        "a number of seconds above 0",
        gt=0,
        allow_inf_nan=False,
    )
    max_body_memory: int = setting(
        256,
        "Megabytes of memory for the bodies of all requests of a worker; what is beyond is answered 529. 0: no limit.",
        "a whole number of at least 0",
        ge=0,
    )
    shutdown_timeout: float = setting(
        120.0,
        "Seconds that running answers get to finish after a SIGTERM or a reload.",
        "a number of seconds of at least 0",
        ge=0,
        allow_inf_nan=False,
    )
    metrics: bool = setting(True, "Serve Prometheus metrics at /metrics.", "true or false")
    inspector: bool = setting(
        False, "Serve the page /ui, which shows every exchange; bodies are kept in memory for it.", "true or false"
    )
    http_transport: Literal["aiohttp", "httpx"] = setting(
        "aiohttp",
        "What does the network work: aiohttp, or httpx alone.",
        "aiohttp or httpx",
    )
    ccproxy_layers: Annotated[tuple[str, ...], NoDecode] = setting(
        LAYERS,
        "The layers, outermost first; leave one out, reorder them, or add your own as package.module:Class.",
        f"names out of {', '.join(LAYERS)} and import paths, separated by commas",
    )
    enable_boost_support: Annotated[tuple[Tier, ...], NoDecode] = setting(
        (),
        "The tiers to boost.",
        f"NONE, or one or several of {', '.join(get_args(Tier))}, separated by commas",
    )
    boost_base_url: str | None = setting(None, "The planner's base URL; required with boost.", _URL)
    boost_api_key: SecretStr | None = setting(None, "The planner's key; required with boost.", _KEY)
    boost_model: str = setting("gpt-4o", "The planner's model.", "a model", min_length=1)
    boost_wrapper_template: str | None = setting(
        None,
        "The planner's prompt, or the path of a file with it. Unset: the built-in one.",
        "a text with " + ", ".join(f"{{{name}}}" for name in PLACEHOLDERS) + " (at least one), or a file",
    )
    custom_headers: Annotated[dict[str, str], NoDecode] = setting(
        {},
        "A header for the provider: CUSTOM_HEADER_X_API_KEY=v sends X-API-KEY: v, over the proxy's own.",
        "CUSTOM_HEADER_<NAME>=value, one variable for each header",
        repr=False,
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
            raise ConfigurationError(problems) from None  # the original holds the values
        except (OSError, UnicodeDecodeError):
            raise ConfigurationError(
                [f"{unreadable(_paths(values))}: can't be read; accepted: a UTF-8 text file"]
            ) from None

    @classmethod
    def load(cls, env_file: str | None = None, *, any_env: bool = True, **values: Any) -> Self:
        """The settings of a process: as the constructor, with the user's configuration file below ``.env``.

        ``env_file`` is another file instead of ``.env``. ``any_env``: see :func:`settings_files`.
        """
        if env_file is not None and not Path(env_file).is_file():
            raise ConfigurationError([f"--env-file: given {env_file!r}; accepted: a file that exists"])
        files = settings_files(env_file, any_env=any_env)
        paths = tuple(file.path for file in files if not file.left_out)
        try:
            settings = cls(_env_file=paths, **values)
        except ConfigurationError as exc:
            raise ConfigurationError([*exc.problems, *unread_files(files)]) from None
        names, own = names_by_file(paths)
        known = [name.upper() for name in cls.model_fields if name != "custom_headers"]
        names = [name for name in names if not name.upper().startswith(HEADER_PREFIX)]
        settings._lookalikes = find_lookalikes([*os.environ, *names], known, own)
        return settings

    @staticmethod
    def explicit(**values: Any) -> "Settings":
        """Settings from arguments alone: neither the environment nor ``.env`` is looked at."""
        return _Explicit(**values)

    @property
    def lookalikes(self) -> tuple[str, ...]:
        """A warning for each variable of the process that is nearly one of ours."""
        return self._lookalikes

    @property
    def client_keys(self) -> tuple[str, ...]:
        """The keys a client may send; none: everybody may call."""
        return () if self.anthropic_api_key is None else split(self.anthropic_api_key.get_secret_value())

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
        return init_settings, headers, env_settings, dotenv_settings

    @field_validator("openai_api_key", "anthropic_api_key", "boost_api_key", mode="before")
    @classmethod
    def _check_key(cls, value: Any, info: ValidationInfo) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text is None:
            if info.field_name == "boost_api_key" and info.data.get("enable_boost_support"):
                raise ValueError("ENABLE_BOOST_SUPPORT needs it")
            return None
        return read_key(text, several=info.field_name == "anthropic_api_key")

    @field_validator("openai_base_url", "boost_base_url", mode="after")
    @classmethod
    def _check_url(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            if info.data.get("enable_boost_support"):
                raise ValueError("ENABLE_BOOST_SUPPORT needs it")
            return None
        return read_url(value)

    @field_validator("host", mode="after")
    @classmethod
    def _without_brackets(cls, value: str) -> str:
        return value[1:-1] if value.startswith("[") and value.endswith("]") else value

    @field_validator("middle_model", mode="before")
    @classmethod
    def _default_middle(cls, value: Any, info: ValidationInfo) -> Any:
        return info.data.get("big_model", "gpt-4o") if value is None else value

    @field_validator("provider", mode="before")
    @classmethod
    def _check_provider(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None:
            return detect_provider(info.data.get("openai_base_url", ""))
        return resolve_profile(str(value).strip(), {}).name

    @field_validator("provider_options", mode="before")
    @classmethod
    def _check_provider_options(cls, value: Any, info: ValidationInfo) -> Any:
        options = read_json(value) if isinstance(value, str) else value
        if isinstance(options, Mapping):
            resolve_profile(info.data.get("provider", "generic"), options)
        return options

    @field_validator("log_format", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.strip().upper() if isinstance(value, str) else value

    @field_validator("min_tokens_limit", mode="after")
    @classmethod
    def _check_min_tokens(cls, value: int | None, info: ValidationInfo) -> int | None:
        limit = info.data.get("max_tokens_limit")
        if value is not None and limit is not None and value > limit:
            raise ValueError(f"it is above MAX_TOKENS_LIMIT, {limit}")
        return value

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: Any) -> Any:
        names = split(value) if isinstance(value, str) else value
        return check_hosts(names) if isinstance(names, (list, tuple)) else names

    @field_validator("ccproxy_layers", mode="before")
    @classmethod
    def _split_layers(cls, value: Any) -> Any:
        layers = split(value) if isinstance(value, str) else value
        if isinstance(layers, (list, tuple)) and all(isinstance(name, str) for name in layers):
            check_layers(layers)
        return layers

    @field_validator("enable_boost_support", mode="before")
    @classmethod
    def _split_tiers(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = () if value.strip().upper() == "NONE" else split(value.upper())
        return tuple(dict.fromkeys(value)) if isinstance(value, Iterable) else value

    @field_validator("boost_wrapper_template", mode="after")
    @classmethod
    def _read_template(cls, value: str | None) -> str | None:
        if value is None:
            return None
        text = read_text(value)
        if not Template(text).placeholders:
            raise ValueError("it has no placeholder, and there is no such file")
        return text

    @field_validator("custom_headers", mode="after")
    @classmethod
    def _check_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        problems = header_problems(headers)
        if problems:
            raise ConfigurationError(problems)
        return headers


class _Explicit(Settings):
    """Settings from arguments alone."""

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
