"""``cc-boost doctor`` in front of a real model behind llama.cpp's own server. ``CC_BOOST_REAL=smol`` runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.providers.real_model import CONTEXT, Unavailable, real_model

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

COMMAND = [str(Path(sys.executable).parent / "cc-boost"), "doctor", "--json"]


def test_server_is_recognised_and_what_it_can_not_do_is_found(tmp_path: Path) -> None:
    if "smol" not in os.environ.get("CC_BOOST_REAL", "").split(","):
        pytest.skip("it takes a real model: CC_BOOST_REAL=smol fetches and runs one")
    try:
        with real_model("smol") as url:
            variables = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OPENAI_API_KEY": "none"}
            variables |= {"OPENAI_BASE_URL": f"{url}/v1", "BIG_MODEL": "smol", "SMALL_MODEL": "smol"}
            done = subprocess.run(COMMAND, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=600)
    except Unavailable as exc:
        pytest.skip(str(exc))
    document = json.loads(done.stdout)
    found = {check["id"]: check for check in document["checks"]}
    outcomes = {id_: check["outcome"] for id_, check in found.items()}
    assert (done.returncode, done.stderr) == (1, "")
    for id_ in ("reachable", "base_url", "provider", "key", "models", "max_tokens", "answer", "stream", "usage"):
        assert outcomes[id_] == "ok", found[id_]
    assert (outcomes["window"], found["window"]["detail"][:5]) == ("problem", f"{CONTEXT:,}")
    assert outcomes["images"] == "warning"
    assert document["changes"]["PROVIDER"] == "llama.cpp"
    assert json.loads(document["changes"]["PROVIDER_OPTIONS"])["vision"] is False
