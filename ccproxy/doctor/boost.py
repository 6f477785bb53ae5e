"""The check of boost's planner."""

from .examination import Examination, Result, ok, problem, say, skipped
from .probe import open_planner


async def planner(exam: Examination) -> Result:
    settings = exam.settings
    if not settings.enable_boost_support:
        return skipped("boost is off")
    async with open_planner(settings) as probe:
        answer = await probe.complete({"model": settings.boost_model, **say("Reply with the word OK.")})
    if answer.ok:
        return ok(f"{settings.boost_model} answers in {answer.seconds:.1f} s")
    return problem(answer.error, "Check BOOST_BASE_URL, BOOST_API_KEY and BOOST_MODEL.")
