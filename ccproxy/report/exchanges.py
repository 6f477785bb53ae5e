"""The last exchanges of a running proxy, read from its inspector, as shapes."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from .shapes import runs, shape

_LIMIT = 6.0  # seconds for each request
_SHOWN_HEADERS = frozenset(
    [
        "accept",
        "accept-encoding",
        "anthropic-beta",
        "anthropic-version",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "transfer-encoding",
        "user-agent",
        "retry-after",
        "x-should-retry",
    ]
)
_SUMMARY = [
    "time",
    "path",
    "client_model",
    "model",
    "tier",
    "stream",
    "status",
    "state",
    "error",
    "error_message",
    "stop_reason",
    "first_byte",
    "duration",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "retries",
    "provider",
    "upstream",
    "rule",
    "boost_outcome",
    "decisions",
    "attempts",
]


def running_proxy(url: str, key: str | None, last: int) -> dict[str, Any]:
    """What the proxy at ``url`` reports about itself, and its ``last`` exchanges; or why there are none."""
    headers = {} if key is None else {"x-api-key": key}
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=_LIMIT, trust_env=False) as client:
            page = client.get("/").json()
            if not isinstance(page, dict) or page.get("name") != "cc-boost":
                return {"answers": False, "reason": "another program answers at this address"}
            found: dict[str, Any] = {"answers": True, "version": page.get("version"), "layers": page.get("layers")}
            return found | _exchanges(client, last)
    except (httpx.HTTPError, httpx.InvalidURL):
        return {"answers": False, "reason": "nothing answers at this address: is cc-boost running?"}
    except ValueError:
        return {"answers": False, "reason": "another program answers at this address"}


def _exchanges(client: httpx.Client, last: int) -> dict[str, Any]:
    listing = client.get("/ui/api/exchanges")
    if listing.status_code in (401, 403):
        return {"exchanges": [], "reason": "the inspector does not accept the key of the settings"}
    if listing.status_code != 200:
        return {"exchanges": [], "reason": "the inspector is off: set INSPECTOR=true, and repeat what fails"}
    ids = [str(exchange["id"]) for exchange in listing.json()["exchanges"]][-last:]
    details = (client.get(f"/ui/api/exchanges/{id_}") for id_ in ids)
    return {"exchanges": [_shown(detail.json()) for detail in details if detail.status_code == 200]}


def _shown(exchange: Mapping[str, Any]) -> dict[str, Any]:
    summary = {name: exchange[name] for name in _SUMMARY if exchange.get(name) not in (None, [], "")}
    calls = [exchange["client"], *exchange["providers"]]
    return {**summary, "calls": [_call(call) for call in calls]}


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    request, answer = call["request"], call["answer"]
    shown: dict[str, Any] = {
        "name": call["name"],
        "milliseconds": call["ended"] and call["ended"] - call["at"],
        "request": {
            "method": request["method"],
            "path": request["path"].partition("?")[0],
            "headers": _headers(request["headers"]),
            **_body(request),
        },
        "answer": {"status": answer["status"], "headers": _headers(answer["headers"]), **_body(answer)},
    }
    if "events" in answer:
        shown["answer"]["events"] = runs([_event(event) for event in answer["events"]])
    if call["own_error"]:
        shown["answer"]["by"] = "cc-boost itself"
    return shown


def _event(event: Mapping[str, Any]) -> Any:
    """An event without its time and text lengths, so that equal events in a row are merged."""
    found = {name: value for name, value in event.items() if name != "at"}
    return shape(found["json"], sizes=False) if found.keys() == {"json"} else shape(found, sizes=False)


def _headers(headers: Sequence[Sequence[str | None]]) -> dict[str, str]:
    return {
        str(name): str(value) if name in _SHOWN_HEADERS else f"<{len(value or '')} characters>"
        for name, value in headers
    }


def _body(part: Mapping[str, Any]) -> dict[str, Any]:
    if "json" in part:
        return {"body": shape(part["json"])}
    return {"body": f"<{len(part['text'])} characters, no JSON>"} if "text" in part else {}
