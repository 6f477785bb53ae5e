"""Which of OpenAI's APIs the provider is asked with: chat completions or Responses."""

from ccproxy.layers import conversion_options
from ccproxy_middleware.conversion.providers import PROFILES, profile_for_model, resolve_profile

from .examination import FEW_TOKENS, Examination, Result, ok, warning

_LETTERS = 200


async def api(examination: Examination) -> Result:
    """Try Responses too. Report which of the two the proxy uses for BIG_MODEL, and why."""
    settings = examination.settings
    model = settings.big_model
    options = {**conversion_options(settings), **examination.found}
    if "api" in examination.found:  # learned during the checks; an explicit setting takes precedence
        options["api"] = conversion_options(settings).get("api", "auto")
    profile = resolve_profile(examination.provider, options)
    used = profile_for_model(profile, model).api
    question = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Say hello."}]}
    body = {"model": model, "input": [question], "max_output_tokens": FEW_TOKENS, "store": False}
    answer = await examination.probe.respond(body)
    has_it = answer.ok and isinstance(answer.data, dict) and isinstance(answer.data.get("output"), list)
    why = f"api is {options['api']}" if options.get("api", "auto") != "auto" else f"api is auto, and {model} is"
    if used == "responses" and not has_it:
        told = answer.error or f"HTTP {answer.status}"
        return warning(
            f"no answer by Responses, which {examination.provider} is asked by for {model}: {told[:_LETTERS]}",
            'chat completions are asked instead; PROVIDER_OPTIONS={"api": "chat"} saves the first try',
        )
    if used == "responses":
        return ok(f"Responses is used: {why}{'' if options.get('api', 'auto') != 'auto' else ' a model for it'}")
    more = "; Responses answers too" if has_it else "; Responses does not answer"
    if "api" in options and options["api"] != "auto":
        return ok(f"chat completions are used: {why}{more}")
    reason = "a model for them" if PROFILES[examination.provider].responses_models else "of a provider asked by them"
    return ok(f"chat completions are used: {why} {reason}{more}")
