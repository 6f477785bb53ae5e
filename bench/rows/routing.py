"""What it costs to choose among upstreams."""

import statistics

from .. import bodies
from ..contestants import Contestants
from ..measure import Plan, Row, compare, load
from ..processes import Server, proxy_settings, running, uvicorn

_CLIENTS = 8


def routing(plan: Plan, there: Contestants) -> list[Row]:
    """A small request to a proxy with three upstreams and lists of models, and to one with a single provider."""
    base_url = there.direct.url + "/v1"
    plain = proxy_settings(base_url)
    models = "gpt-4o, b:gpt-4o, c:gpt-4o"
    three = {
        **plain,
        **{f"UPSTREAM_{name}_BASE_URL": base_url for name in ("B", "C")},
        **{f"UPSTREAM_{name}_API_KEY": "key" for name in ("B", "C")},
        "BIG_MODEL": models,
        "MIDDLE_MODEL": models,
    }

    def work(server: Server) -> int:
        return len(load(server, bodies.small(), count=plan.count(2000), concurrency=_CLIENTS))

    there.follow("/json")
    with running(uvicorn("one", "asgi:app", **plain), uvicorn("three", "asgi:app", **three)) as servers:
        rounds = compare(servers, work, plan)
    ratio = statistics.median(routed / max(alone, 0.01) for alone, routed in rounds)
    medians = [statistics.median(times) for times in zip(*rounds, strict=True)]
    columns = {server.name: f"{time:,.0f} us" for server, time in zip(servers, medians, strict=True)}
    name = "small request, routed over three upstreams"
    return [Row(name, "CPU <= 1.05 x one provider", f"{ratio:.2f} x", ratio <= 1.05, columns)]
