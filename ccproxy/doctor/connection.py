"""Checks of the connection: does the provider answer, is it safe, does it accept the key, does it have the models?"""

import ipaddress
import re
from difflib import get_close_matches
from urllib.parse import urlsplit

from ccproxy_middleware.conversion.anthropic import model_info
from ccproxy_middleware.conversion.providers import says_no_model

from .examination import Examination, Result, counted, ok, problem, say, skipped, warning
from .probe import Answer

OWN_PROMPT = 20_000
"""About the number of tokens in Claude Code's own prompt and tools."""

_LEAST_WINDOW = 32_768

_BY_OWNER = {"vllm": "vllm", "llamacpp": "llama.cpp", "library": "ollama"}  # owned_by of its models -> profile
_TLS_FAILURE = re.compile(r"\[SSL\b|SSLError|certificate", re.IGNORECASE)


async def reachable(exam: Examination) -> Result:
    url = exam.base_url
    answer = await exam.probe.get("/models")
    _read_list(exam, answer)
    exam.plain = answer
    if answer.error.startswith("could not connect") and not _is_tls_failure(answer):
        remedy = (
            "Check OPENAI_BASE_URL: is the server running, is the name right, does the network or a proxy block it?"
        )
        return problem(answer.error, remedy)
    if answer.error.startswith("the provider redirects"):
        return problem(answer.error, "Set OPENAI_BASE_URL to the final address.")
    if answer.error.startswith("the provider's answer broke off or was not HTTP"):
        return problem(answer.error, "Check OPENAI_BASE_URL: is it the right port, http or https?")
    return ok(urlsplit(url).netloc if answer.status == 504 else f"{urlsplit(url).netloc}, {_milliseconds(answer)}")


async def tls(exam: Examination) -> Result:
    if _is_tls_failure(exam.plain):
        remedy = (
            "For a certificate authority of your own, name its file in SSL_CERT_FILE; otherwise check OPENAI_BASE_URL."
        )
        return problem(exam.plain.error, remedy)
    parts = urlsplit(exam.base_url)
    if parts.scheme == "https":
        return ok("the certificate is valid")
    if is_near(exam):
        return skipped("http, on this machine or a private network")
    return warning("http: the key and all texts travel unencrypted", "Set OPENAI_BASE_URL to an https:// address.")


async def base_url(exam: Examination) -> Result:
    first = exam.plain
    if exam.listed is not None:
        return ok(f"lists {counted(len(exam.listed), 'model')}")
    if first.status in (401, 403):
        return ok("there is an API")
    url = exam.base_url
    if not url.endswith("/v1") and await _is_at_v1(exam):
        exam.base_url = f"{url}/v1"
        return problem(f"there is no API at {url}, but at {exam.base_url}", f"Set OPENAI_BASE_URL={exam.base_url}")
    if "html" in first.content_type:
        return problem(f"{url} answers with a web page, not an API", "Set OPENAI_BASE_URL: most end in /v1.")
    return ok("lists no models")


async def provider(exam: Examination) -> Result:
    owners = {str(entry.get("owned_by")) for entry in (exam.listed or {}).values()}
    known = {_BY_OWNER[owner] for owner in owners if owner in _BY_OWNER}
    if exam.provider == "generic" and len(known) == 1:
        exam.provider = known.pop()
        return ok(f"{exam.provider}, detected from its list of models")
    return ok(exam.provider)


async def key(exam: Examination) -> Result:
    answer = exam.plain = await exam.ask(lambda profile: say("Reply with the word OK."), enough=lambda a: a.text)
    if answer.meaning in (401, 403):
        return problem(answer.error, "Check OPENAI_API_KEY: the provider does not accept it for this model.")
    if answer.meaning == 402:
        return problem(answer.error, "The provider refuses for lack of credit: check the account of OPENAI_API_KEY.")
    return ok("accepted" if answer.ok else "not refused")


async def models(exam: Examination) -> Result:
    missing: dict[str, str] = {}
    asked: dict[str, bool] = {}
    for model, places in exam.named.items():
        if model not in asked:
            asked[model] = await _exists(exam, model)
        if not asked[model]:
            missing |= dict.fromkeys(places, model)
    if not missing:
        return ok(", ".join(exam.named))
    detail = ", ".join(f"{variable} {model}" for variable, model in missing.items())
    ids = list(exam.listed or ())
    close = [near for model in missing.values() for near in get_close_matches(model, ids, n=3, cutoff=0.5)]
    there = ", ".join(dict.fromkeys(close or ids[:8]))
    remedy = f"Set {', '.join(missing)} to a model that exists{f': {there}' if there else ''}."
    return problem(f"not found: {detail}", remedy)


async def window(exam: Examination) -> Result:
    model = exam.settings.big_model
    listed = exam.listed or {}
    only = next(iter(listed)) if len(listed) == 1 and model not in listed else None  # it answers to any model name
    size = model_info(model, model, exam.profile, listed.get(only or model, {}))["max_input_tokens"]
    if size is None:
        return skipped("not reported by the provider")
    found = f"{size:,} tokens" if only is None else f"{size:,} tokens, of {only}, the only model that is listed"
    remedy = "Serve the model with a longer context: 65,536 or more."
    if size < OWN_PROMPT:
        return problem(f"{found}: Claude Code's own prompt needs about {OWN_PROMPT:,}", remedy)
    if size < _LEAST_WINDOW:
        return warning(f"{found}: little room besides Claude Code's own prompt", remedy)
    return ok(found)


def is_near(exam: Examination) -> bool:
    """Whether the provider is on this machine or a private network, where requests cost no money."""
    host = urlsplit(exam.base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".local", ".internal", ".lan"))


async def _exists(exam: Examination, model: str) -> bool:
    """Whether a model exists: it is listed, or it answers. Other checks report other failures."""
    if exam.listed is not None and model in exam.listed:
        return True
    if model == exam.settings.big_model:
        answer = exam.plain
    else:
        answer = await exam.ask(lambda profile: say("Reply with the word OK."), model=model)
    return not (
        404 in (answer.status, answer.meaning) or (answer.status in (400, 403, 422) and "model" in answer.error.lower())
    )


async def _is_at_v1(exam: Examination) -> bool:
    """Whether the API is not at the base URL but below its ``/v1``."""
    longer = await exam.probe.get("/v1/models")
    if longer.status in (401, 403) or _entries(longer) is not None:
        return True
    body = {"model": exam.settings.big_model, **say("Reply with the word OK.")}
    return _is_nowhere(await exam.probe.complete(body)) and not _is_nowhere(
        await exam.probe.complete(body, below="/v1")
    )


def _is_nowhere(answer: Answer) -> bool:
    """Whether nothing is served at a path: an unknown path, a web page, or an answer without any known format."""
    is_path = answer.status in (404, 405) and not says_no_model(answer.error)
    return is_path or answer.status in (0, 502, 504) or "html" in answer.content_type


def _read_list(exam: Examination, answer: Answer) -> None:
    entries = _entries(answer)
    if entries is not None:
        exam.listed = {str(entry["id"]): entry for entry in entries if isinstance(entry, dict) and "id" in entry}


def _entries(answer: Answer) -> list[object] | None:
    data = answer.data.get("data") if answer.ok and isinstance(answer.data, dict) else None
    return data if isinstance(data, list) else None


def _is_tls_failure(answer: Answer) -> bool:
    return answer.error.startswith("could not connect") and bool(_TLS_FAILURE.search(answer.error))


def _milliseconds(answer: Answer) -> str:
    return f"{answer.seconds * 1000:,.0f} ms"
