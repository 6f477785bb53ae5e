"""The memory that the bodies of all requests may take together."""


class MemoryFull(Exception):
    """The bodies of other requests leave too little memory to read this one now."""


class LargerThanMemory(Exception):
    """One body takes more than the limit for all together; the message states the limit."""


class BodyMemory:
    """The bytes that the bodies of the requests in progress take, up to a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


class BodyShare:
    """The share of one request in a BodyMemory. It is returned when the ``with`` block around the request ends."""

    __slots__ = ("_memory", "_taken")

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self._taken = 0

    def __enter__(self) -> "BodyShare":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.give(self._taken)

    def take(self, size: int) -> None:
        """Take so many bytes more. Raises MemoryFull if they are not free, LargerThanMemory if they never can be."""
        memory = self._memory
        if self._taken + size > memory.limit:
            megabytes = memory.limit / (1 << 20)
            raise LargerThanMemory(f"Request takes more than {megabytes:g} MB of memory, the limit set here")
        if memory.used + size > memory.limit:
            raise MemoryFull
        self._taken += size
        memory.used += size

    def give(self, size: int) -> None:
        """Return so many bytes."""
        self._taken -= size
        self._memory.used -= size
