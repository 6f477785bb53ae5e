"""Files of the user's that are replaced in one step, so that no half of one is ever there."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write a file, and make it, for its owner only, if it is not there. Raises OSError.

    One that is there keeps its mode and owner; one behind a symbolic link is changed where it is.
    """
    path = path.resolve()
    try:
        mode = path.stat()
    except FileNotFoundError:
        mode = None
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        if mode is not None:
            os.chmod(name, mode.st_mode & 0o7777)
            with suppress(OSError, AttributeError):
                os.chown(name, mode.st_uid, mode.st_gid)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
