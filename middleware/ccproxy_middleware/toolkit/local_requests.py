"""Distinguishes requests of this machine's own programs from those of web pages and of other machines.

A foreign web page reaches a server on loopback through the browser of its reader in two ways: with a plain form or
image, which the browser marks with ``Origin`` and ``Sec-Fetch-Site``; or under a host name of its own that was made to
resolve to 127.0.0.1, which is then in ``Host``. https://www.w3.org/TR/fetch-metadata/,
https://fetch.spec.whatwg.org/#origin-header
"""

import ipaddress
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import Scope

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?", re.IGNORECASE)

# Containers use these names for the loopback address of their host; no public name server resolves them.
_HOSTS_OF_CONTAINERS = ("host.docker.internal", "gateway.docker.internal", "host.containers.internal")

# Headers that proxies and tunnels add: RFC 7239, RFC 9110 section 7.6.3, RFC 8586, and vendors' own.
_FORWARDED = frozenset(
    (
        *(b"forwarded", b"via", b"x-real-ip", b"true-client-ip", b"x-client-ip", b"x-cluster-client-ip", b"cdn-loop"),
        *(b"client-ip", b"fastly-client-ip", b"fly-client-ip", b"x-original-host", b"x-original-forwarded-for"),
        *(b"x-envoy-external-address", b"x-azure-clientip", b"x-azure-socketip", b"x-appengine-user-ip"),
    )
)
_FORWARDED_PREFIXES = (b"x-forwarded", b"cf-", b"tailscale-", b"ngrok-")

_OF_BROWSERS = frozenset((b"origin", b"sec-fetch-site"))

_LONGEST_ADDRESS = 100  # characters, including the name of an interface

_PROGRAMS = ("vscode-file://", "vscode-webview://")
"""Origins of an editor's own windows; a web page can't have one."""


def is_loopback(address: str) -> bool:
    """Whether an IP address is this machine's loopback; a name never is."""
    return len(address) <= _LONGEST_ADDRESS and _is_loopback(address)


@lru_cache(maxsize=1024)
def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback


def on_loopback(scope: Scope) -> bool:
    """Whether the connection arrived at a loopback address; the client's address is used if the server's is not
    available.
    """
    address = scope.get("server") or scope.get("client")
    return address is not None and is_loopback(address[0])


def is_forwarded(scope: Scope) -> bool:
    """Whether headers show that a proxy or a tunnel has forwarded the request."""
    for header, _ in scope["headers"]:
        name = header.lower()
        if name in _FORWARDED or name.startswith(_FORWARDED_PREFIXES):
            return True
    return False


def host_name(scope: Scope) -> str | None:
    """The name in ``Host``, in lower case and without its port; None if it does not occur exactly once, or is not a
    name.
    """
    hosts = _values(scope, b"host")
    found = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    return found["name"].strip("[]").lower() if found else None


def is_loopback_name(name: str | None) -> bool:
    """Whether a host name can mean only this machine. RFC 6761 reserves ``localhost`` and the names below it."""
    return name is not None and (name == "localhost" or name.endswith(".localhost") or is_loopback(name))


def is_expected_host(scope: Scope, allowed: Collection[str]) -> bool:
    """Whether the ``Host`` of a request on loopback is one that local programs use, or an allowed name.

    A forwarded request comes from elsewhere, whatever its ``Host``: for it only the allowed names count.
    """
    name = host_name(scope)
    if name in allowed or "*" in allowed:
        return True
    return not is_forwarded(scope) and (is_loopback_name(name) or name in _HOSTS_OF_CONTAINERS)


def is_of_foreign_page(scope: Scope) -> bool:
    """Whether the browser's headers show that a page of another origin sends the request."""
    for name, _ in scope["headers"]:
        if name.lower() in _OF_BROWSERS:
            break
    else:
        return False
    origins = _values(scope, b"origin")
    sites = _values(scope, b"sec-fetch-site")
    if any(origin.startswith(_PROGRAMS) for origin in origins):
        return len(origins) > 1
    hosts = [host.lower() for host in _values(scope, b"host")]
    return any([_netloc(origin)] != hosts for origin in origins) or not {"same-origin", "none"}.issuperset(sites)


def _values(scope: Scope, name: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1").strip() for key, value in headers if key.lower() == name]


def _netloc(origin: str) -> str:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    return parts.netloc.lower() if parts.scheme in ("http", "https") else ""
