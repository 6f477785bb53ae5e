"""The check of boost's planner."""

from ccproxy.settings import planner_candidates

from .examination import Examination, Result, ok, problem, say, skipped
from .probe import open_planner


async def planner(exam: Examination) -> Result:
    settings = exam.settings
    if not settings.enable_boost_support:
        return skipped("boost is off")
    models = planner_candidates(settings.boost_model, settings.upstreams)[0]
    if not models:
        return skipped("its models are examined at their upstreams")
    seconds = 0.0
    for model in models:
        async with open_planner(settings) as probe:
            answer = await probe.complete({"model": model, **say("Reply with the word OK.")})
        if not answer.ok:
            which = "" if len(models) == 1 else f"{model}: "
            return problem(which + answer.error, "Check BOOST_BASE_URL, BOOST_API_KEY and BOOST_MODEL.")
        seconds = max(seconds, answer.seconds)
    return ok(f"{', '.join(models)} {'answers' if len(models) == 1 else 'answer'} in {seconds:.1f} s")
