"""``CUSTOM_HEADER_*``: variables that become headers of requests to the provider."""

from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from ccproxy_middleware.headers import FRAMING_HEADERS, HEADER_NAME

from .configuration import MASK, problem

HEADER_PREFIX = "CUSTOM_HEADER_"


class CustomHeadersSource(PydanticBaseSettingsSource):
    """Collects ``CUSTOM_HEADER_*`` from the given sources. The last source wins; arguments replace all of them."""

    def __init__(self, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._sources = sources

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        if "custom_headers" in self.current_state:
            return {}
        headers: dict[str, str] = {}
        for source in self._sources:
            if isinstance(source, EnvSettingsSource):
                for variable, value in source.env_vars.items():
                    name = variable.upper()
                    if name.startswith(HEADER_PREFIX) and value is not None:
                        headers[name.removeprefix(HEADER_PREFIX).replace("_", "-")] = value
        return {"custom_headers": headers} if headers else {}


def header_problems(headers: dict[str, str]) -> list[str]:
    """A line for each header that can't be sent."""
    return [
        problem(HEADER_PREFIX + name.upper().replace("-", "_"), f"given {MASK}", "", accepted)
        for name, value in headers.items()
        if (accepted := accepted_header(name, value, f"a header's name after {HEADER_PREFIX}"))
    ]


def accepted_header(name: str, value: str, a_name: str = "a header's name") -> str | None:
    """What is accepted instead of this invalid header. ``a_name``: how the message describes a name."""
    if not HEADER_NAME.fullmatch(name):
        return a_name
    if name.lower() in FRAMING_HEADERS:
        return f"any header but {', '.join(FRAMING_HEADERS).upper()}, which the HTTP client sets"
    if any(char in "\r\n\0" or char > "\xff" for char in value):
        return "a value of latin-1 text on one line"
    return None
