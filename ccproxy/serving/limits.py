"""Limits on what a client may use before its request is complete, and while it reads the answer."""

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits of one connection, in seconds and bytes."""

    head_seconds: float = 10.0
    """For the first request's headers from the connection on, for those of later ones from their first byte on."""
    client_seconds: float = 60.0
    """How long a client may send nothing of a body, or take nothing of an answer."""
    idle_seconds: float = 75.0
    """Between two requests."""
    close_seconds: float = 2.0
    """For a client that was refused to read why and to close."""
    least_rate: int = 500
    """Bytes a second that a body, or an answer, moves by at least, looked at over ``client_seconds`` and longer."""
    head_bytes: int = 64 * 1024
    """The target and all headers; so much once more for trailers, and for what stands between two pieces of content."""
    headers: int = 128
    """Their number, and that of trailers."""
    waiting_requests: int = 16
    """Requests that were sent before the answers to those before them."""
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
