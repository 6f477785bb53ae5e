"""The messages between processes that share a state, and their requests to the server."""

import struct
from typing import NamedTuple

PREFIX = "cc-boost:"
INDEX = PREFIX + "facts"
"""A sorted set of all facts' names, by their expiry in milliseconds since the epoch."""

FACT = PREFIX + "fact:"
EPOCH = PREFIX + "epoch"
"""A marker that exists as long as the server has not lost its data."""

_PUT, _DELETED, _FREE = b"P", b"D", b"F"
_HEAD = struct.Struct(">c8sQQH")  # kind, origin, number, milliseconds, length of the key


class Told(NamedTuple):
    """A fact that a process has stored, or deleted (``value`` None). ``number``: the sequence number among the writes
    of
    ``origin``.
    """

    origin: bytes
    number: int
    key: str
    value: bytes | None
    seconds: float


def put_message(told: Told) -> bytes:
    key = told.key.encode()
    what = _DELETED if told.value is None else _PUT
    return _HEAD.pack(what, told.origin, told.number, int(told.seconds * 1000), len(key)) + key + (told.value or b"")


def free_message(name: str) -> bytes:
    return _FREE + name.encode()


def read_message(message: bytes) -> Told | str | None:
    """A fact, the name of a pace with a free place, or None for a message of another version."""
    if message[:1] == _FREE:
        return message[1:].decode(errors="replace")
    try:
        what, origin, number, milliseconds, length = _HEAD.unpack_from(message)
        key = message[_HEAD.size : _HEAD.size + length].decode()
    except (struct.error, UnicodeDecodeError):
        return None
    if what not in (_PUT, _DELETED):
        return None
    value = None if what == _DELETED else message[_HEAD.size + length :]
    return Told(origin, number, key, value, milliseconds / 1000)


WRITE = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local how, value, ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
if how == 'delete' then
    redis.call('DEL', KEYS[1])
    redis.call('ZREM', KEYS[2], KEYS[1])
else
    if how == 'restore' then
        if not redis.call('SET', KEYS[1], value, 'PX', ms, 'NX') then return 0 end
    else
        redis.call('SET', KEYS[1], value, 'PX', ms)
    end
    redis.call('ZADD', KEYS[2], string.format('%.0f', now + ms), KEYS[1])
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
    local more = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[6])
    if more > 0 then
        local gone = redis.call('ZPOPMIN', KEYS[2], more)
        for i = 1, #gone, 2 do redis.call('DEL', gone[i]) end
    end
    local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
    if last[2] then redis.call('PEXPIREAT', KEYS[2], last[2]) end
end
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1
"""
"""A fact put, restored if it isn't there, or deleted. Keys: it, the index. Values: how, value, ms, channel, message,
and how many facts there may be."""

ENTER = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[3])), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
"""Takes a place for a request if one is free. Key: the running ones. Values: id, limit, ms until expiry."""

RENEW = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[1])), ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""
"""Renews the places of requests that still run. Key: the running ones. Values: ms until expiry, their ids."""
