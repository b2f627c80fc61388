"""Equal programs are compiled once for all tests of a run, in whichever of its processes.

Most of the time of the tests goes into compiling, and many of them make the same model. JAX's key is all that a program depends on.
"""

from __future__ import annotations

import os
import shutil
import tempfile

import jax

from pellucid.core import compilation_cache, jax_compat

_FOLDER = "PELLUCID_TESTS_PROGRAMS"
_SIZE_LIMIT = 2**30
_SHORT = 0.03  # seconds of compilation below which to keep a program takes longer than it saves


class Programs(compilation_cache.FolderCache):
    """Kept programs that Pellucid does not see: in its ledger a program that is found here was compiled, as for the first test that has it."""

    def get(self, key: str) -> bytes | None:
        found = getattr(compilation_cache._here, "found", 0)
        try:
            return super().get(key)
        finally:
            compilation_cache._here.found = found


_programs: Programs | None = None


def start() -> bool:
    """Makes the folder of this run, unless a process that started this one has. Says whether it did."""
    first = _FOLDER not in os.environ
    if first:
        os.environ[_FOLDER] = tempfile.mkdtemp(prefix="programs-")
    global _programs
    _programs = Programs(os.environ[_FOLDER], _SIZE_LIMIT, asked_for=True)
    return first


def end() -> None:
    """Removes the folder."""
    shutil.rmtree(os.environ.pop(_FOLDER))


def use() -> None:
    """Programs are looked for there from now on, and put there."""
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _SHORT)
    jax_compat.use_compilation_cache(_programs)
