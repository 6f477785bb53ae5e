"""Limits on what a client may use before its request is complete, and while it reads the answer."""

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits of one connection, in seconds and bytes."""

    head_seconds: float = 10.0
    """Time for a request's headers: for a first request since the connection, for later ones since their first byte."""
    client_seconds: float = 60.0
    """How long a client may pause while it sends a body or reads an answer."""
    idle_seconds: float = 75.0
    """Between two requests."""
    close_seconds: float = 2.0
    """Time for a refused client to read the reason and close the connection."""
    least_rate: int = 500
    """The minimum bytes per second of a body or an answer, measured over at least ``client_seconds``."""
    head_bytes: int = 64 * 1024
    """The target and all headers. The same limit applies to trailers, and to the data between two pieces of content."""
    headers: int = 128
    """The number of headers, and of trailers."""
    waiting_requests: int = 16
    """Pipelined requests: those sent before earlier requests are answered."""
    per_address: int = 0
    """Connections from one address at a time; 0: no limit."""

    @property
    def shortest(self) -> float:
        """The shortest of the time limits."""
        return min(self.head_seconds, self.client_seconds, self.idle_seconds)


def address_of(host: str) -> str:
    """What counts as one address. In IPv6 it is a /64 network, since each customer has that many addresses."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
