"""Packages that only the integration tests need, from the extra ``integration``."""

import importlib
import os
import warnings
from types import ModuleType

import pytest


def need(module: str) -> ModuleType:
    """Import it. Where it is missing the tests are skipped, or fail with CC_BOOST_REQUIRE_INTEGRATION=1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what foreign packages use is not ours to mend
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if os.environ.get("CC_BOOST_REQUIRE_INTEGRATION") == "1":
                raise
            reason = f"{error.name} is not installed: pip install '.[integration]'"
            pytest.skip(reason, allow_module_level=True)
