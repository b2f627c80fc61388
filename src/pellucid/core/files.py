"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator


def write_whole(path: str | os.PathLike, content: str | bytes) -> None:
    """Writes a file so that its name always stands for a whole one: the new one, or what was there before.

    What is no regular file, such as ``/dev/stdout``, is written into.

    Args:
        path: of the file; where it is a link, of the file that it leads to.
        content: bytes, or text, which is written as UTF-8.

    Raises:
        OSError: where it cannot be written.
    """
    data = content if isinstance(content, bytes) else content.encode()
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, "wb") as file:
            file.write(data)
        return
    with replacing(path) as temporary, open(temporary, "xb") as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[str]:
    """The name of a temporary file in the same folder, to be made and written inside. It takes the name ``path`` at the end.

    A block that raises leaves what was there before, and no temporary file.

    Args:
        path: of the file; where it is a link, of the file that it leads to.

    Raises:
        OSError: where it cannot be written.
    """
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.access(target, os.W_OK):  # to replace it would need no right to write it
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not os.path.isdir(os.path.dirname(target)):
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {os.path.dirname(target)!r}", os.fspath(path))
    temporary = os.path.join(os.path.dirname(target), f".{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())  # some file systems tell only now that the disk is full
        if os.path.exists(target):
            os.chmod(temporary, os.stat(target).st_mode & 0o777)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        if isinstance(error, OSError) and error.errno is not None:  # the user knows the name of the file, not the temporary one's
            raise type(error)(error.errno, error.strerror, os.fspath(path)) from None
        raise
