"""Settings of the library."""

from __future__ import annotations

import os

import jax
import numpy as np

from pellucid.core import compilation_cache as compilation_caching
from pellucid.core import scratch_memory
from pellucid.core.checks import check_whole
from pellucid.core.dtypes import floatx, set_floatx
from pellucid.core.explain import filter_tracebacks, filters_tracebacks
from pellucid.core.policies import dtype_policy, set_dtype_policy

_epsilon = 1e-7
_image_data_format = "channels_last"
_data_budget: int | None = None
_interactive_logging = True


def epsilon() -> float:
    """A small number that keeps divisions and logarithms finite, 1e-7 unless ``set_epsilon`` changed it."""
    return _epsilon


def set_epsilon(value: float) -> None:
    """Sets what ``epsilon`` returns.

    Raises:
        ValueError: for what is no number above zero.
    """
    global _epsilon
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not value > 0:
        raise ValueError(f"set_epsilon: value={value!r}; expected a small number above zero, such as 1e-7.")
    _epsilon = float(value)


def image_data_format() -> str:
    """Where images have their channels, unless a layer says otherwise: "channels_last", or "channels_first" if that was set."""
    return _image_data_format


def set_image_data_format(data_format: str) -> None:
    """Sets what ``image_data_format`` returns.

    Args:
        data_format: "channels_last", (rows, height, width, channels), or "channels_first".

    Raises:
        ValueError: for another one.
    """
    global _image_data_format
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(f"set_image_data_format: data_format={data_format!r}; expected 'channels_last' or 'channels_first'.")
    _image_data_format = data_format


def data_budget() -> int:
    """Bytes of data that ``fit`` puts on an accelerator whole; larger data are streamed. By default a quarter of its memory."""
    return device_memory() // 4 if _data_budget is None else _data_budget


def device_memory() -> int:
    """Bytes of memory of the first device; of the host, where the device has none of its own."""
    stats = jax.devices()[0].memory_stats() or {}
    return int(stats.get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def set_data_budget(size: int | None) -> None:
    """Sets what ``data_budget`` returns, in bytes; None for a quarter of the device's memory."""
    global _data_budget
    _data_budget = None if size is None else int(size)


def enable_traceback_filtering() -> None:
    """Errors show the user's own lines only, as they do unless told otherwise."""
    filter_tracebacks(True)


def disable_traceback_filtering() -> None:
    """Errors show the lines of Pellucid and JAX, too. JAX leaves out some of its own: see its ``jax_traceback_filtering``."""
    filter_tracebacks(False)


def is_traceback_filtering_enabled() -> bool:
    """Whether errors show the user's own lines only.

    Example:
        >>> import pellucid
        >>> pellucid.config.is_traceback_filtering_enabled()
        True
    """
    return filters_tracebacks()


def enable_interactive_logging() -> None:
    """Progress is drawn as a bar in a terminal or notebook. This is the default."""
    global _interactive_logging
    _interactive_logging = True


def disable_interactive_logging() -> None:
    """Progress is told in one line an epoch, in a terminal or notebook as well."""
    global _interactive_logging
    _interactive_logging = False


def is_interactive_logging_enabled() -> bool:
    """Whether progress is drawn as a bar where it can be."""
    return _interactive_logging


def compilation_cache(folder: str | os.PathLike | None = None, size_limit: int | None = None) -> compilation_caching.Kept:
    """Sets where compiled programs are kept, so that the next start of a script need not compile them; by default, a folder for caches.

    The environment variable ``PELLUCID_COMPILATION_CACHE`` sets the folder, too, or "off". JAX's own setting,
    ``jax_compilation_cache_dir``, goes before both.

    Args:
        folder: which others must not be able to write to; "off" for none; None leaves it as it is.
        size_limit: in bytes, of all files there: those used longest ago are removed. None leaves it as it is: 1 GiB at first.

    Returns:
        ``(folder, size_limit)`` from now on; ``folder`` is None where none is kept.

    Raises:
        TypeError: for a folder that is no path.
        ValueError: for a limit that is no whole number above zero.

    Example:
        >>> import pellucid
        >>> pellucid.config.compilation_cache("off")
        Kept(folder=None, size_limit=1073741824)
    """
    now = compilation_caching.kept()
    if folder is None and size_limit is None:
        return now
    if folder is not None and not isinstance(folder, str | os.PathLike):
        raise TypeError(f'compilation_cache: folder={folder!r}; expected a path, "off" or None.')
    if size_limit is not None:
        check_whole("compilation_cache", "size_limit", size_limit, least=1)
    place = now.folder if folder is None else None if folder == "off" else os.path.abspath(os.path.expanduser(folder))
    compilation_caching.keep_in(place, now.size_limit if size_limit is None else size_limit)
    return compilation_caching.kept()


def keep_scratch_memory(wanted: bool | None = None) -> bool:
    """Sets whether a program on a CPU keeps the memory of its intermediate values from one execution to the next.

    XLA takes it anew in each execution, and the system clears every page of it again. Kept, a large model's step takes up to a quarter
    less time, and the process may hold several times that memory. Off unless set here or by the environment variable
    ``PELLUCID_KEEP_SCRATCH_MEMORY``; on Linux with glibc only. Set it before JAX computes anything: threads that have started
    go on as they are.

    Args:
        wanted: from now on; None leaves it as it is.

    Returns:
        whether it is kept from now on. Never where another memory allocator is in use, glibc's own settings are in the
        environment, or glibc has refused to keep a block of the size that was needed.

    Raises:
        TypeError: for anything else than True, False or None.

    Example:
        >>> import pellucid
        >>> pellucid.config.keep_scratch_memory(False)
        False
    """
    if wanted is not None and not isinstance(wanted, bool):
        raise TypeError(f"keep_scratch_memory: wanted={wanted!r}; expected True or False, or None to ask.")
    if wanted is not None:
        scratch_memory.keep(wanted)
    return scratch_memory.keeps()


def backend() -> str:
    """``"jax"``: there is no other."""
    return "jax"


__all__ = [
    "backend",
    "compilation_cache",
    "data_budget",
    "device_memory",
    "disable_interactive_logging",
    "disable_traceback_filtering",
    "dtype_policy",
    "enable_interactive_logging",
    "enable_traceback_filtering",
    "epsilon",
    "floatx",
    "image_data_format",
    "is_interactive_logging_enabled",
    "is_traceback_filtering_enabled",
    "keep_scratch_memory",
    "set_data_budget",
    "set_dtype_policy",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
]
