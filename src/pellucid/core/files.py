"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets


def write_whole(path: str | os.PathLike, content: str | bytes) -> None:
    """Writes a file so that its name always stands for a whole one: the new one, or what was there before.

    The content goes into a temporary file in the same folder, which then takes the name. What is no regular file, such as
    ``/dev/stdout``, is written into.

    Args:
        path: of the file; where it is a link, of the file that it leads to.
        content: bytes, or text, which is written as UTF-8.

    Raises:
        OSError: where it cannot be written. The temporary file is removed then.
    """
    data = content if isinstance(content, bytes) else content.encode()
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, "wb") as file:
            file.write(data)
        return
    if os.path.exists(target) and not os.access(target, os.W_OK):  # to replace it would need no right to write it
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
    temporary = os.path.join(os.path.dirname(target), f".{secrets.token_hex(8)}.tmp")
    try:
        _write_new(temporary, data, os.stat(target).st_mode & 0o777 if os.path.exists(target) else None)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        if isinstance(error, OSError):  # the user knows the name of the file, not that of the temporary one
            raise type(error)(error.errno, error.strerror, os.fspath(path)) from None
        raise


def _write_new(path: str, data: bytes, mode: int | None) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # some file systems tell only now that the disk is full
    if mode is not None:
        os.chmod(path, mode)
