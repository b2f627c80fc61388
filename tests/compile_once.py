"""Equal programs are compiled once for all tests of a run, in whichever of its processes.

Most of the time of the tests goes into compiling, and many of them make the same model. JAX's key is all that a program depends on.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable

import jax

from pellucid.core import compilation_cache, jax_compat

_FOLDER = "PELLUCID_TESTS_PROGRAMS"
_SIZE_LIMIT = 2**30
_JAX_MINIMUM = 1.0
_SHORT = 0.03  # seconds of compilation below which to keep a program takes longer than it saves


class Programs(compilation_cache.FolderCache):
    """Kept programs, of which Pellucid does not see that they were: in its ledger each was compiled, as for the first test that has it."""

    def get(self, key: str) -> bytes | None:
        found = getattr(compilation_cache._here, "found", 0)
        try:
            return super().get(key)
        finally:
            compilation_cache._here.found = found


def programs_of_this_run(at_end: Callable[[Callable], None]) -> Programs:
    """The programs of all processes of this run of the tests. Who makes their folder removes it at the end."""
    if _FOLDER not in os.environ:
        os.environ[_FOLDER] = tempfile.mkdtemp(prefix="programs-")
        at_end(lambda: shutil.rmtree(os.environ.pop(_FOLDER)))
    return Programs(os.environ[_FOLDER], _SIZE_LIMIT, asked_for=True)


def use(programs: Programs | None) -> None:
    """Programs are looked for in that folder from now on, and put there; None for nowhere."""
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _JAX_MINIMUM if programs is None else _SHORT)
    jax_compat.use_compilation_cache(programs)
