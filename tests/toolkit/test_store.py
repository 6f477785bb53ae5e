"""Facts that expire, in a process."""

import pytest

from ccproxy_middleware.toolkit.store import MemoryStore


class Clock:
    """A time that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_values_are_known_until_their_time_is_over() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    store.put("cooldown:a", b"1", 5)
    store.put("cooldown:b", b"2", 10)
    assert (store.get("cooldown:a"), store.get("cooldown:b"), store.get("cooldown:c")) == (b"1", b"2", None)
    clock.now += 5
    assert (store.get("cooldown:a"), store.get("cooldown:b")) == (None, b"2")
    assert list(store.items("cooldown:")) == [("cooldown:b", b"2")]
    store.put("cooldown:b", b"3", 0)
    assert store.get("cooldown:b") is None


def test_another_value_takes_the_place_and_the_time_of_the_first() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    store.put("k:a", b"old", 5)
    store.put("k:a", b"new", 50)
    clock.now += 20
    assert list(store.entries()) == [("k:a", b"new", 30.0)]
    store.delete("k:a")
    store.delete("k:a")
    store.delete("other:a")
    assert store.get("k:a") is None
    assert list(store.items("")) == []


def test_items_are_those_of_the_prefix() -> None:
    store = MemoryStore()
    for key in ("cooldown:a:1", "cooldown:a:2", "cooldown:b:1", "cooldown", "affinity:a:1"):
        store.put(key, key.encode(), 60)
    assert [key for key, _ in store.items("cooldown:")] == ["cooldown:a:1", "cooldown:a:2", "cooldown:b:1"]
    assert [key for key, _ in store.items("cooldown:a:")] == ["cooldown:a:1", "cooldown:a:2"]
    assert [key for key, _ in store.items("cool")] == ["cooldown:a:1", "cooldown:a:2", "cooldown:b:1", "cooldown"]
    assert list(store.items("nothing:")) == []
    assert len(list(store.items(""))) == 5


def test_what_is_put_or_deleted_in_the_middle_of_a_look_does_no_harm() -> None:
    store = MemoryStore()
    for number in range(3):
        store.put(f"k:{number}", b"", 60)
    for key, _ in store.items("k:"):
        store.delete(key)
        store.put(key + "new", b"", 60)
    assert [key for key, _ in store.items("k:")] == ["k:0new", "k:1new", "k:2new"]


def test_the_least_used_of_a_kind_makes_room() -> None:
    store = MemoryStore(entries=3)
    store.put("cooldown:a", b"", 60)
    for name in "abc":
        store.put(f"affinity:{name}", b"", 60)
    store.get("affinity:a")
    store.put("affinity:d", b"", 60)
    assert [key for key, _ in store.items("affinity:")] == ["affinity:c", "affinity:a", "affinity:d"]
    assert store.get("cooldown:a") == b""


def test_bytes_are_bounded_too() -> None:
    store = MemoryStore(size=100)
    store.put("k:a", b"x" * 40, 60)
    store.put("k:b", b"x" * 40, 60)
    store.put("k:c", b"x" * 40, 60)
    assert [key for key, _ in store.items("k:")] == ["k:b", "k:c"]
    store.put("k:large", b"x" * 100, 60)
    assert store.get("k:large") is None
    for _ in range(1000):
        store.put("k:a", b"x" * 40, 60)
    assert [key for key, _ in store.items("k:")] == ["k:a"]


def test_a_store_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="room"):
        MemoryStore(entries=0)
    with pytest.raises(ValueError, match="room"):
        MemoryStore(size=0)
