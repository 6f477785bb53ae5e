"""An upstream: a provider as the settings describe it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from pydantic import SecretStr

from ccproxy_middleware.models import DEFAULT_UPSTREAM
from ccproxy_middleware.redaction import header_secrets

PREFIX = "UPSTREAM_"

OF_DEFAULT: Mapping[str, str] = {
    "base_url": "OPENAI_BASE_URL",
    "api_key": "OPENAI_API_KEY",
    "provider": "PROVIDER",
    "provider_options": "PROVIDER_OPTIONS",
    "azure_api_version": "AZURE_API_VERSION",
    "headers": "CUSTOM_HEADER_*",
    "api": 'PROVIDER_OPTIONS={"api": ...}',
    "rpm": "OPENAI_RPM",
    "tpm": "OPENAI_TPM",
    "concurrency": "OPENAI_CONCURRENCY",
}
"""The default upstream's variables, by the corresponding fields of other upstreams."""

_BY_DEFAULT = {variable: end for end, variable in OF_DEFAULT.items() if end != "api"}
_VARIABLE = re.compile("|".join(rf"\b{re.escape(name)}(?![A-Z_])" for name in _BY_DEFAULT))


UpstreamApi: TypeAlias = Literal["auto", "chat", "responses", "anthropic"]


@dataclass(frozen=True, slots=True)
class Upstream:
    """A provider as the settings describe it.

    api_keys: a pool of keys; each session uses one. client_credential: the client's own credential is used instead.
    api: ``anthropic`` for Anthropic's protocol, else which of OpenAI's APIs is used. headers: sent with each request.
    rpm, tpm: requests and tokens per minute. concurrency: concurrent requests. None means no limit.
    """

    name: str
    base_url: str
    api_keys: tuple[SecretStr, ...] = ()
    client_credential: bool = False
    api: UpstreamApi = "auto"
    provider: str = "generic"
    provider_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    azure_api_version: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None

    @property
    def is_anthropic(self) -> bool:
        """Whether requests are sent without conversion."""
        return self.api == "anthropic"

    @property
    def is_paced(self) -> bool:
        """Whether requests wait for a rate limit."""
        return any(limit is not None for limit in (self.rpm, self.tpm, self.concurrency))

    @property
    def key_texts(self) -> tuple[str, ...]:
        """The keys in the form in which they are sent."""
        return tuple(key.get_secret_value() for key in self.api_keys)

    def own_names(self, text: str) -> str:
        """A text in which the default upstream's variable names are replaced by those of this upstream."""
        if self.name == DEFAULT_UPSTREAM:
            return text
        return _VARIABLE.sub(lambda found: variable_of(self.name, _BY_DEFAULT[found[0]]), text)

    def secrets(self) -> tuple[str, ...]:
        """Every value that must not be shown."""
        parts = header_secrets([(name.encode(), value.encode("latin-1")) for name, value in self.headers.items()])
        return (*self.key_texts, *self.headers.values(), *(part.decode("latin-1") for part in parts))


def variable_of(name: str, end: str) -> str:
    """The variable for a field of the upstream."""
    return f"{PREFIX}{name}_{end}".upper()
