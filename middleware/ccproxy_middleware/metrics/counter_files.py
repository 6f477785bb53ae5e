"""prometheus-client's files, with their disk space allocated in advance.

It writes through a memory map into sparse files: if the disk is full, the kernel kills the process with SIGBUS. With
the space allocated in advance, a full disk is an OSError before anything is written.
"""

import os
from contextlib import suppress

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

_SIZE = 64 * 1024
_REST = 64  # bytes of an entry besides its key, rounded up


class _AllocatedDict(MmapedDict):
    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if not read_mode and not (os.path.exists(filename) and os.path.getsize(filename)):
            try:
                with open(filename, "ab") as file:
                    _allocate(file.fileno(), 0, _SIZE)
            except OSError:
                with suppress(OSError):
                    os.unlink(filename)  # an empty file can't be read
                raise
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        capacity = self._capacity
        while self._used + len(key.encode()) + _REST > capacity:
            capacity *= 2
        if self._f is not None and capacity > (size := os.fstat(self._f.fileno()).st_size):
            _allocate(self._f.fileno(), size, capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]


def allocate_counter_files() -> None:
    """Allocate the files for the metrics that this process creates from now on."""
    setattr(values, "MmapedDict", _AllocatedDict)  # noqa: B010 - mypy: it is not exported


def _allocate(file: int, start: int, end: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, start, end - start)
        return
    while start < end:
        start += os.write(file, bytes(end - start))  # both modes in which it is open append
