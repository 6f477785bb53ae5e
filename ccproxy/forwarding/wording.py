"""Connection failures in plain words, without names and formats of the HTTP library."""

import os
import re

import aiohttp
import httpx

_PLACE = re.compile(r"\s*\(_?ssl\.c:\d+\)")
_ERRNO = re.compile(r"\[Errno -?\d+\] ")
_UNFINISHED = {
    "ContentLengthError": "it ended before its Content-Length",
    "TransferEncodingError": "it ended in the middle of a chunk",
}


_OF_HTTPX = {
    "All connection attempts failed": "no connection could be made",
    "incomplete chunked read": _UNFINISHED["TransferEncodingError"],
    "sending complete message body": _UNFINISHED["ContentLengthError"],
    "illegal chunk header": "its body is malformed",
    "disconnected without sending": "the connection was closed before an answer came",
}
_CERTIFICATE = re.compile(r"\[SSL: CERTIFICATE_VERIFY_FAILED\] certificate verify failed: ")


def failure_reason(exc: httpx.RequestError) -> str:
    """Why an httpx request has failed, with either transport. Our own errors already have a description."""
    if isinstance(exc, httpx.ConnectTimeout) and not str(exc):
        return "the connect took too long"
    if isinstance(exc, httpx.TimeoutException) and not str(exc):
        return "nothing came in time"
    text = next((words for part, words in _OF_HTTPX.items() if part in str(exc)), _plain(exc))
    return _CERTIFICATE.sub("certificate refused: ", text) or "the connection was lost"


def connect_failure(exc: aiohttp.ClientConnectorError) -> str:
    """Why the connection failed: refused, unknown host name, TLS."""
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        error: Exception = exc.certificate_error
        return f"certificate refused: {getattr(error, 'verify_message', '') or _plain(error)}"
    return system_failure(exc.os_error)


def system_failure(error: OSError) -> str:
    """The system's message, such as ``Connection refused``."""
    if error.errno is not None and error.errno > 0 and not str(error).startswith("[SSL"):
        return os.strerror(error.errno)
    return _plain(error) or "the connection was lost"


def payload_failure(exc: aiohttp.ClientPayloadError) -> str:
    """What is wrong with a body."""
    text = str(exc)
    return next((words for name, words in _UNFINISHED.items() if name in text), "its body is malformed")


def _plain(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return _ERRNO.sub("", _PLACE.sub("", text)).partition("\n")[0]
