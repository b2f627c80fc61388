"""Compiled programs are kept in a folder, so that the next start of a script finds them there.

JAX asks a cache for each program, by a key of all that the program depends on, and compiles what is not found. Its own cache on files
has no limit unless a package for file locks is installed, and leaves half an entry where a disk is full or a process is killed. This
one keeps entries whole (written beside, then renamed) and checked (a sum over the bytes), and holds to a limit without locks: the
files that were used longest ago go first. Whatever the file system does, a program is compiled at worst.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import platform
import sys
import tempfile
import threading
import time
import zlib
from typing import Any, NamedTuple

import jax

from pellucid.core import explain, jax_compat

VARIABLE = "PELLUCID_COMPILATION_CACHE"
SIZE_LIMIT = 2**30
_SUFFIX = ".program"
_SUM_BYTES = 4
_WRITING = 3600  # seconds after which a half-written file is one of a process that was killed
_JAX_MINIMUM = 1.0  # seconds of compilation from which on JAX keeps programs, unless a user says otherwise


class Kept(NamedTuple):
    """Where compiled programs are kept, and up to how many bytes; None for nowhere."""

    folder: str | None
    size_limit: int


class FolderCache:
    """Entries by key as files of a folder, as JAX wants a cache.

    Args:
        folder: made when the first entry is written, for this user alone: who can write there can run code here.
        size_limit: in bytes, of all files together.
        asked_for: whether a user chose the folder, and wants to know where nothing can be written there.
    """

    def __init__(self, folder: str, size_limit: int, asked_for: bool):
        self._path = pathlib.Path(folder, _machine())
        self.folder, self.size_limit, self.asked_for = folder, size_limit, asked_for
        self._size: int | None = None  # of the files, once it is known
        self._lock = threading.Lock()
        self._failed = False

    def get(self, key: str) -> bytes | None:
        """What was put under a key; None where it is not there or not whole."""
        if jax.config.jax_compilation_cache_dir:  # the user has set JAX's own since
            own = jax_compat.use_compilation_cache(None)
            return None if own is None else own.get(key)
        path = self._path / (key + _SUFFIX)
        try:
            entry = path.read_bytes()
            value = entry[_SUM_BYTES:]
            if _sum(value) == entry[:_SUM_BYTES]:
                with contextlib.suppress(OSError):  # another user's, or of a disk that can only be read
                    os.utime(path)
                _here.found = getattr(_here, "found", 0) + 1
                return value
            path.unlink()
        except OSError:
            pass
        return None

    def put(self, key: str, value: bytes) -> None:
        """Keeps a value, where the file system lets it. Warns once where it does not, if the folder was asked for."""
        if len(value) > self.size_limit or self._failed:
            return
        try:
            with self._lock:
                self._write(key, _sum(value) + value)
        except OSError as error:
            self._failed = True
            if not self.asked_for:
                return
            explain.warn(
                f"Compiled programs cannot be kept in {str(self._path)!r} ({error}): the next start compiles anew. Set another folder by "
                f'pellucid.config.compilation_cache("…") or the environment variable {VARIABLE}; "off" keeps none.'
            )

    def _write(self, key: str, entry: bytes) -> None:
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        self._path.mkdir(mode=0o700, exist_ok=True)
        if self._size is None:
            self._size = sum(size for *_, size in self._files())
        descriptor, beside = tempfile.mkstemp(dir=self._path)
        try:
            with open(descriptor, "wb") as file:
                file.write(entry)
            os.replace(beside, self._path / (key + _SUFFIX))
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise
        self._size += len(entry)
        if self._size > self.size_limit:
            self._evict()

    def _evict(self) -> None:
        """Removes the files that were used longest ago, and some more, so that not each new entry asks for it."""
        files = sorted(self._files())
        self._size = sum(size for *_, size in files)
        for _, path, size in files:
            if self._size <= 0.9 * self.size_limit:
                break
            with contextlib.suppress(OSError):  # another process has been faster
                os.unlink(path)
            self._size -= size

    def _files(self) -> list[tuple[float, str, int]]:
        """(time of the last use, path, size) of what is in the folder, for other machines too, but for what may be being written."""
        found, fresh = [], time.time() - _WRITING
        for folder, _, names in os.walk(self.folder):
            for path in (os.path.join(folder, name) for name in names):
                with contextlib.suppress(OSError):
                    told = os.stat(path)
                    if path.endswith(_SUFFIX) or told.st_mtime < fresh:
                        found.append((told.st_mtime, path, told.st_size))
        return found


_here = threading.local()  # entries that were found for this thread
_kept = Kept(None, SIZE_LIMIT)


def compiled(lowered: Any) -> tuple[Any, bool]:
    """(XLA's executable of a lowered function, whether it was found among the kept ones)."""
    before = getattr(_here, "found", 0)
    return lowered.compile(), getattr(_here, "found", 0) > before


def compiled_by_name(lowered: Any) -> Any:
    """XLA's executable of a lowered function, with its own names of scopes in the text.

    Usually names are no part of the key, so that a kept program has those of the function for which it was compiled first.
    """
    setting = "jax_compilation_cache_include_metadata_in_key"
    before = getattr(jax.config, setting)
    jax.config.update(setting, True)
    try:
        return lowered.compile()
    finally:
        jax.config.update(setting, before)


def install() -> None:
    """Keeps programs in the folder that the environment names, or in one among the user's caches."""
    told = os.environ.get(VARIABLE, "")
    if told.lower() != "off":
        keep_in(os.path.abspath(os.path.expanduser(told)) if told else _default_folder(), SIZE_LIMIT, asked_for=bool(told))


def keep_in(folder: str | None, size_limit: int, asked_for: bool = True) -> None:
    """Keeps programs in a folder from now on, or nowhere."""
    global _kept
    _kept = Kept(folder, size_limit)
    if not jax.config.jax_compilation_cache_dir:  # else the user's own choice stands
        _use(None if folder is None else FolderCache(folder, size_limit, asked_for))


def kept() -> Kept:
    """Where programs are kept, unless JAX's own setting says otherwise."""
    return _kept


def _use(cache: FolderCache | None) -> None:
    """Puts a cache in the place of the present one, or none."""
    replaced, minimum = (_JAX_MINIMUM, 0.0) if cache is not None else (0.0, _JAX_MINIMUM)
    if jax.config.jax_persistent_cache_min_compile_time_secs == replaced:  # many small programs take as long as a large one
        jax.config.update("jax_persistent_cache_min_compile_time_secs", minimum)
    jax_compat.use_compilation_cache(cache)


def _default_folder() -> str | None:
    """A folder among the user's caches, where this system has them; None where there is no home."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    base = os.path.expanduser(base)
    return os.path.join(base, "pellucid", "programs") if os.path.isabs(base) else None


def _sum(value: bytes) -> bytes:
    return zlib.crc32(value).to_bytes(_SUM_BYTES, "big")


def _machine() -> str:
    """A name for this kind of processor: machines that share a folder may differ in what their processors can do."""
    told = platform.machine() + os.environ.get("PROCESSOR_IDENTIFIER", "")
    with contextlib.suppress(OSError), open("/proc/cpuinfo", "rb") as file:
        first = file.read(16384).partition(b"\n\n")[0].decode(errors="replace")
        told += "".join(line for line in first.splitlines() if line.startswith(("model name", "flags", "Features", "CPU part")))
    return hashlib.sha256(told.encode()).hexdigest()[:16]
