"""How much memory the bodies of all requests may take together."""


class MemoryFull(Exception):
    """The bodies of other requests take too much for this one to be read now."""


class LargerThanMemory(Exception):
    """One body takes more than all may together; the message says how much that is."""


class BodyMemory:
    """The bytes that the bodies of the requests under way take, up to a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


class BodyShare:
    """What one request has of a BodyMemory. It is given back when the ``with`` block around the request ends."""

    __slots__ = ("_memory", "_taken")

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self._taken = 0

    def __enter__(self) -> "BodyShare":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.give(self._taken)

    def take(self, size: int) -> None:
        """Take so many bytes more. Raises MemoryFull where they are not there, LargerThanMemory where they can't be."""
        memory = self._memory
        if self._taken + size > memory.limit:
            megabytes = memory.limit / (1 << 20)
            raise LargerThanMemory(f"Request takes more than {megabytes:g} MB of memory, the limit set here")
        if memory.used + size > memory.limit:
            raise MemoryFull
        self._taken += size
        memory.used += size

    def give(self, size: int) -> None:
        """Give so many bytes back."""
        self._taken -= size
        self._memory.used -= size
