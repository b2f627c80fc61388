"""The scratch memory of programs on a CPU may be kept from one execution to the next.

XLA asks for the memory of a program's intermediate values anew in each execution. glibc takes a large block from the system and gives
it back, and the system clears each page of it again when it is touched: 25,000 page faults in a transformer's step of 105 MB, 51 of
226 ms of processor time (jax 0.12). glibc keeps blocks of up to 32 MB by itself once one has been freed; told to, it keeps larger ones,
too: here up to what the compiled programs need. Blocks above 64 MB fit into its first arena alone, so that XLA's threads must use
that one, which can only be set before they start.

It is off unless asked for. JAX takes the scratch memory of a step when the step is dispatched, before the step runs: of several steps in
flight, all but the running one hold memory that was never touched, and none of it counts. Kept memory has been touched: a wide layer
with 134 MB of it, one step a dispatch, held 877 MB instead of 341. Where several steps run in one dispatch, they share it anyway.

What the compiler has left is given back to the system, which glibc does not do by itself: 65 of 350 MB after two layers GRU, and a lower
peak, as the first step finds that memory free.

Where another memory allocator than glibc's is in use, or the user has set glibc's options, nothing is changed. Where glibc refuses what
it is told (before 2.35 it may refuse to keep blocks above 32 MB), nothing is kept from then on.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

VARIABLE = "PELLUCID_KEEP_SCRATCH_MEMORY"
LEAST = 32 * 2**20  # bytes: the largest block that glibc keeps by itself
MOST_OF_MEMORY = 8  # at most one part in so many of the machine's memory is kept
LONG = 0.25  # seconds of compilation: what a shorter one leaves is little. Giving it back takes some hundredth of a second
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # mallopt's numbers

_keeps = False
_kept = LEAST  # bytes of the largest block that is kept


def keeps() -> bool:
    """Whether scratch memory is kept."""
    return _keeps


def install() -> None:
    """Keeps it where the environment says so. Before JAX starts its threads."""
    if os.environ.get(VARIABLE, "").lower() in ("1", "on", "true"):
        keep(True)


def keep(wanted: bool) -> None:
    """Keeps the scratch memory of programs that are compiled from now on, or no longer keeps any."""
    global _keeps, _kept
    libc = _glibc()
    if libc is None or wanted == _keeps:
        return
    if not libc.mallopt(_ARENA_MAX, 1 if wanted else 8 * (os.cpu_count() or 1)) and wanted:  # the second is glibc's own
        return
    if not wanted:
        _keep_blocks(libc, LEAST, 2 * LEAST)
    _keeps, _kept = wanted, LEAST


def keep_for(compiled: Any) -> None:
    """Keeps the scratch memory of an executable on a CPU, up to a part of the machine's memory. None at all where glibc refuses."""
    global _kept
    size = getattr(compiled.memory_analysis(), "temp_size_in_bytes", 0) if _keeps else 0
    if _kept < size <= _memory() // MOST_OF_MEMORY and (libc := _glibc()) is not None:
        _kept = size
        if not _keep_blocks(libc, size + size // 8, _memory() // MOST_OF_MEMORY):
            keep(False)


def give_back(compiling: float) -> None:
    """Gives the memory that a compilation of so many seconds has left back to the system."""
    if compiling >= LONG and (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _keep_blocks(libc: Any, size: int, free: int) -> bool:
    """Blocks up to a size are taken from the heap, at whose end so much free memory may stay. Returns whether glibc agrees."""
    agrees = libc.mallopt(_MMAP_THRESHOLD, min(size, 2**31 - 1)) and libc.mallopt(_TRIM_THRESHOLD, min(free, 2**31 - 1))
    libc.malloc_trim(0)
    return bool(agrees)


def _glibc() -> Any:
    """The C library, where it is glibc, serves ``malloc``, and has not been told by the user how to."""
    if not sys.platform.startswith("linux") or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return None
    try:
        used, own = ctypes.CDLL(None), ctypes.CDLL("libc.so.6")
        serving, given = (ctypes.cast(library.malloc, ctypes.c_void_p).value for library in (used, own))
        return own if serving == given and hasattr(own, "gnu_get_libc_version") else None  # musl has no such function
    except (OSError, AttributeError):
        return None


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
