"""The lists of domains with which a client restricts a search."""

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

_DOMAIN = re.compile(r"(?P<host>[^\s/:*?#@]+\.[^\s/:*?#@.]+|localhost)(?P<path>/[^\s?#]*)?")
_MAX_DOMAIN = 2048  # characters


def is_domain(text: str) -> bool:
    """Whether this is valid in a list: a host without scheme, optionally with a path, in which one ``*`` may occur."""
    return len(text) <= _MAX_DOMAIN and _DOMAIN.fullmatch(text) is not None and text.count("*") <= 1


def is_listed(url: str, domains: Iterable[str]) -> bool:
    """Whether a URL belongs to one of the domains. Subdomains count, and a path is a prefix."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return False
    return any(_matches(host, parts.path or "/", *_read(domain)) for domain in domains)


def _matches(host: str, path: str, domain: str, pattern: re.Pattern[str]) -> bool:
    return (host == domain or host.endswith(f".{domain}")) and pattern.match(path) is not None


@lru_cache(maxsize=1024)
def _read(domain: str) -> tuple[str, re.Pattern[str]]:
    host, slash, path = domain.partition("/")
    return host.lower().rstrip("."), re.compile(".*".join(map(re.escape, f"{slash}{path}".split("*"))))
