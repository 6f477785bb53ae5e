"""On which side of the conversion boost stands, and whether the client asks for a stream."""

import pytest

from support.serving.boosted import Place


@pytest.fixture(params=["outside", "inside"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.param
    return found


@pytest.fixture(params=[False, True], ids=["whole", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)
