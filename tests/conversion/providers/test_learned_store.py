"""Corrections that several processes learn together."""

import logging

import pytest

from ccproxy_middleware.conversion.providers import LearnedProfiles, resolve_profile
from ccproxy_middleware.toolkit.store import MemoryStore


def learned(store: MemoryStore, *, name: str = "default", **options: object) -> LearnedProfiles:
    return LearnedProfiles(resolve_profile("generic", options), store=store, name=name)


def test_what_one_has_learned_the_others_know(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    store = MemoryStore()
    one, other = learned(store, stream_usage=True), learned(store, stream_usage=True)
    assert other.get("m", {}).sampling != "drop"
    one.remember("m", {"sampling": "drop", "efforts": ("low", "high")})
    other.remember("m", {"stream_usage": False})
    for profiles in (one, other):
        profile = profiles.get("m", {})
        assert (profile.sampling, profile.efforts, profile.stream_usage) == ("drop", ("low", "high"), False)
        assert profiles.learned() == {"m": {"sampling": "drop", "efforts": ("low", "high"), "stream_usage": False}}
        assert profiles.get("other", {}).sampling != "drop"
    one.remember("m", {"stream_usage": False})
    assert len(caplog.records) == 2, "each is told once, by the process that learned it"
    assert all("remembered for a day" in record.getMessage() for record in caplog.records)


def test_what_is_forgotten_is_forgotten_by_all() -> None:
    store = MemoryStore()
    one, other = learned(store), learned(store)
    one.remember("m", {"sampling": "drop"})
    assert other.get("m", {}).sampling == "drop"
    one.forget()
    assert other.get("m", {}) == one.get("m", {}) == resolve_profile("generic", {})
    assert other.learned() == {}
    other.remember("m", {"sampling": "drop"})
    assert one.get("m", {}).sampling == "drop"


def test_other_providers_and_other_options_learn_by_themselves() -> None:
    store = MemoryStore()
    learned(store).remember("m", {"sampling": "drop"})
    assert learned(store, name="other").get("m", {}).sampling != "drop"
    assert learned(store, stream_usage=True).get("m", {}).sampling != "drop"
    assert learned(store).get("m", {}).sampling == "drop"


@pytest.mark.parametrize("value", [b"", b"[]", b"7", b'{"no_such_switch": 1}', b'{"sampling": "?"}', b"\xff{"])
def test_what_another_version_has_stored_does_no_harm(value: bytes) -> None:
    store = MemoryStore()
    learned(store).remember("m", {"sampling": "drop"})
    [(key, _)] = store.items("learned:")
    store.put(key, value, 60)
    profiles = learned(store)
    assert profiles.get("m", {}) == resolve_profile("generic", {})
    assert profiles.learned() == {}
    profiles.remember("m", {"sampling": "drop"})
    assert learned(store).get("m", {}).sampling == "drop"


def test_memory_is_bounded_with_a_store_too() -> None:
    profiles = learned(MemoryStore(entries=300))
    for number in range(400):
        profiles.remember(f"m{number}", {"sampling": "drop"})
    assert (len(profiles._learned), len(profiles._read)) == (256, 256)
    assert profiles.get("m399", {}).sampling == "drop"
    assert profiles.get("m120", {}).sampling == "drop"
    assert profiles.get("m1", {}).sampling != "drop"
