"""No connection to the provider comes about, or it is lost between requests, or leads to another host."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from ccproxy_middleware import FormatConversionMiddleware
from support.outcomes import Answered, Broken, Outcome, Refused, is_like, watching
from support.paths import DATA
from support.providers import faulty as faults
from support.providers.faulty import SSE, answers, answers_always, chunk, faulty, refusing, sized, unreachable
from support.providers.upstream_faults import HI, Fault, completion, events, stream_of, streamed, watched, whole
from support.reliability import Row
from support.serving.forwarding import TRANSPORTS, TransportName
from support.serving.proxied import proxy

CERTIFICATES = DATA / "tls"
OURS = str(CERTIFICATES / "authority.pem")
LIMIT = 0.3  # REQUEST_TIMEOUT where nothing comes

ANSWERED = Answered()
REDIRECTS = (301, 302, 303, 307, 308)
HEAD = b"content-type: application/json\r\n"

Place = Callable[[], AbstractContextManager[str]]


def certified(name: str) -> Place:
    """A provider with this certificate, which answers."""

    @contextmanager
    def place() -> Iterator[str]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATES / f"{name}.pem")
        with faulty(faults.chosen(_good), tls=context) as provider:
            yield provider.url

    return place


def _good(request: dict[str, object]) -> faults.Behaviour:
    return stream_of(events()) if request.get("stream") else whole(completion())


@contextmanager
def nowhere() -> Iterator[str]:
    yield "http://provider.invalid"


def over_tls(behaviour: faults.Behaviour) -> Place:
    """A server that has never heard of TLS, asked for it."""

    @contextmanager
    def place() -> Iterator[str]:
        with faulty(behaviour) as server:
            yield server.url.replace("http:", "https:")

    return place


@dataclass(frozen=True)
class Connect:
    """A provider's address, what the client sees of both kinds of request, and the authorities to trust."""

    name: str
    place: Place
    seen: Outcome
    trusts: str | None = None
    limit: float = 20.0  # REQUEST_TIMEOUT


def no_connection(message: str) -> Refused:
    return Refused(502, "api_error", message)


CONNECTS = [
    Connect("connect refused", refusing, no_connection("could not connect")),
    Connect("connect neither taken nor refused", unreachable, no_connection("could not connect"), limit=LIMIT),
    Connect("DNS failure", nowhere, no_connection("could not connect")),
    Connect("no TLS where it is expected", over_tls(faults.speaks_first), no_connection("could not connect")),
    Connect("TLS handshake unanswered", over_tls(faults.never_reads), no_connection("could not connect"), limit=LIMIT),
    Connect("certificate of an unknown authority", certified("loopback"), no_connection("certificate")),
    Connect("certificate of another host", certified("elsewhere"), no_connection("not valid for '127.0.0.1'"), OURS),
    Connect("expired certificate", certified("expired"), no_connection("certificate has expired"), OURS),
    Connect("certificate of the authority in SSL_CERT_FILE", certified("loopback"), ANSWERED, OURS),
]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CONNECTS])
def test_connect(case: Connect, transport: TransportName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if case.trusts is not None:
        monkeypatch.setenv("SSL_CERT_FILE", case.trusts)
    with ExitStack() as provider:
        address = provider.enter_context(case.place())
        with (
            proxy(address, max_retries=0, request_timeout=case.limit, http_transport=transport) as url,
            watching(url) as watcher,
        ):
            assert watcher.surprises("gpt-4o", {False: case.seen, True: case.seen}) == {}
            provider.close()  # uvloop waits 30 seconds for the goodbye of a handshake that was given up


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_connection_is_lost_under_tls(transport: TransportName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", OURS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "loopback.pem")
    cut = answers(SSE + chunk(events(HI, done=False)), then_close=True)
    with (
        faulty(cut, tls=context) as provider,
        proxy(provider.url, max_retries=0, http_transport=transport) as url,
        watching(url) as watcher,
    ):
        assert watcher.surprises("gpt-4o", LOST_UNDER_TLS.expected) == {}


LOST_UNDER_TLS = streamed("closes in mid-body under TLS", faults.closes_mid_body, Broken("api_error", "broke off"))


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_provider_is_reached_over_ipv6(transport: TransportName) -> None:
    with (
        faulty(faults.chosen(_good), host="::1") as provider,
        proxy(provider.url, max_retries=0, http_transport=transport) as url,
        watching(url) as watcher,
    ):
        assert provider.url.startswith("http://[::1]:")
        assert watcher.surprises("gpt-4o", {False: ANSWERED, True: ANSWERED}) == {}


REDIRECTED = Refused(502, "api_error", "which is not followed")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_redirect_is_not_followed(transport: TransportName) -> None:
    """Neither the request nor a key reaches the other host."""
    with faulty(answers_always(sized(completion()))) as elsewhere:
        behaviours = {
            str(status): faults.answers_once(
                sized(b"", b"HTTP/1.1 %d Moved\r\nlocation: %s/v1\r\n" % (status, elsewhere.url.encode()))
            )
            for status in REDIRECTS
        }
        with watched(
            [Fault(name, does, REDIRECTED, does, REDIRECTED) for name, does in behaviours.items()],
            http_transport=transport,
        ) as watcher:
            for name in behaviours:
                assert watcher.surprises(name, {False: REDIRECTED, True: REDIRECTED}) == {}
        assert elsewhere.connections == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("stream", [False, True])
def test_request_is_sent_once_when_its_connection_is_closed_after_it_was_read(
    transport: TransportName, stream: bool
) -> None:
    """The provider may be at work on it, which costs money. Not with MAX_RETRIES either."""
    response = SSE + chunk(events()) + b"0\r\n\r\n" if stream else sized(completion())

    async def closes_at_the_second_request(connection: faults.Connection) -> None:
        await connection.request()
        await connection.send(response)
        await connection.request()

    with (
        faulty(closes_at_the_second_request, answers_always(response)) as provider,
        proxy(provider.url, max_retries=5, http_transport=transport) as url,
        watching(url) as watcher,
    ):
        seen = [watcher.on_the_wire("gpt-4o", stream) for _ in range(3)]
    assert (seen[0], seen[2]) == (ANSWERED, ANSWERED)
    assert is_like(seen[1], READ_AND_CLOSED)
    assert provider.connections == 2
    assert len(provider.requests) == 3


READ_AND_CLOSED = Refused(502, "api_error", "broke off")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("stream", [False, True])
def test_new_connection_is_made_when_the_kept_one_was_closed(transport: TransportName, stream: bool) -> None:
    response = SSE + chunk(events()) + b"0\r\n\r\n" if stream else sized(completion())
    with (
        faulty(answers(response, then_close=True)) as provider,
        proxy(provider.url, max_retries=0, http_transport=transport) as url,
        watching(url) as watcher,
    ):
        for _ in range(3):
            assert watcher.on_the_wire("gpt-4o", stream) == ANSWERED
            time.sleep(0.2)  # the close follows the answer
    assert (provider.connections, len(provider.requests)) == (3, 3)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_request_fails_when_new_connections_close_too(transport: TransportName) -> None:
    """The request is not repeated over and over."""
    with (
        faulty(faults.closes_before_headers) as provider,
        proxy(provider.url, max_retries=5, http_transport=transport) as url,
        watching(url) as watcher,
    ):
        assert isinstance(watcher.on_the_wire("gpt-4o", False), Refused)
    assert provider.connections == 1


def test_stream_begins_when_the_provider_is_silent_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pings keep the client; a failure that comes after them can have no status any more."""
    monkeypatch.setattr(FormatConversionMiddleware, "first_event_grace", 0.1)
    with watched([SILENT], request_timeout=LIMIT) as watcher:
        assert watcher.surprises(SILENT.name, SILENT.expected) == {}


SILENT = Fault(
    "silent for longer than the grace of ten seconds, then for longer than REQUEST_TIMEOUT",
    faults.never_answers,
    Refused(504, "timeout_error", "nothing came for"),
    faults.never_answers,
    Broken("timeout_error", "nothing came for", text=""),
)


def same(fault: str, seen: Outcome, test: str) -> Row:
    """One that both kinds of request see alike."""
    return Row(fault, str(seen), str(seen), test)


def rows() -> list[Row]:
    codes = ", ".join(map(str, REDIRECTS))
    return [
        *(same(case.name, case.seen, f"test_connect[{case.name}]") for case in CONNECTS),
        LOST_UNDER_TLS.row("test_connection_is_lost_under_tls"),
        same("an IPv6 address", ANSWERED, "test_provider_is_reached_over_ipv6"),
        same(f"redirect {codes}; no other host is asked", REDIRECTED, "test_redirect_is_not_followed"),
        same(
            "a kept connection that was closed between two requests",
            ANSWERED,
            "test_new_connection_is_made_when_the_kept_one_was_closed",
        ),
        same(
            "a kept connection that is closed when the request was read; it is not sent again",
            READ_AND_CLOSED,
            "test_request_is_sent_once_when_its_connection_is_closed_after_it_was_read",
        ),
        SILENT.row("test_stream_begins_when_the_provider_is_silent_for_long"),
    ]
