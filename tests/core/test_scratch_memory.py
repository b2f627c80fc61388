"""Scratch memory that is kept between executions."""

import ctypes
import os
import platform
import subprocess
import sys

import pytest

import pellucid
from pellucid.core import scratch_memory

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc is told what to keep; there is another one here")

# Steps of 67 MB of scratch memory, one after the other. Prints page faults a step, and whether memory is kept.
STEPS = """
import resource
import statistics
import numpy as np
import pellucid

class Wide(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.wide, self.out = pellucid.layers.Dense(16384, activation="tanh"), pellucid.layers.Dense(1)

    def call(self, x):
        return self.out(self.wide(x))

model = Wide()
model.compile("sgd", "mse", steps_per_execution=1)
x, y = np.ones((512, 1), "float32"), np.ones((512, 1), "float32")
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
found = [faults()]
for _ in range(21):
    model.fit(x, y, batch_size=512, verbose=0)
    found.append(faults())
# the median: now and then a step begins before the one before it has given its memory back
print(statistics.median(np.diff(found)[8:]), pellucid.config.keep_scratch_memory())
"""


def faults(**environment):
    """(page faults a step, whether scratch memory is kept) in a process of its own."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD"))}
    done = subprocess.run([sys.executable, "-c", STEPS], env=inherited | environment, capture_output=True, text=True, check=True)
    number, kept = done.stdout.split()
    return float(number), kept == "True"


@glibc
@pytest.mark.slow
def test_a_step_touches_no_new_pages_where_it_is_asked_for():
    kept, keeps = faults(PELLUCID_KEEP_SCRATCH_MEMORY="on")
    anew, off = faults(PELLUCID_KEEP_SCRATCH_MEMORY="")
    assert keeps and not off
    assert anew > 8000 and kept < anew / 4


@pytest.fixture
def told(monkeypatch):
    """What a C library is told, with nothing kept at first."""
    told = []

    class Library:
        def mallopt(self, option, value):
            told.append((option, value))
            return 1

        def malloc_trim(self, pad):
            told.append("trim")

    monkeypatch.setattr(scratch_memory, "_keeps", False)
    monkeypatch.setattr(scratch_memory, "_kept", scratch_memory.LEAST)
    monkeypatch.setattr(scratch_memory, "_glibc", Library)
    monkeypatch.setattr(scratch_memory, "_memory", lambda: 8 * 2**30)
    return told


class Compiled:
    def __init__(self, size):
        self.temp_size_in_bytes = size

    def memory_analysis(self):
        return self


@pytest.mark.parametrize(("value", "kept"), [("", False), ("on", True), ("1", True), ("off", False), ("0", False)])
def test_it_is_off_unless_the_environment_says_on(told, monkeypatch, value, kept):
    monkeypatch.setenv(scratch_memory.VARIABLE, value)
    scratch_memory.install()
    assert pellucid.config.keep_scratch_memory() == kept
    assert told == ([(scratch_memory._ARENA_MAX, 1)] if kept else [])


def test_blocks_are_kept_from_the_size_on_that_glibc_does_not_keep_itself_and_to_a_part_of_the_memory(told):
    pellucid.config.keep_scratch_memory(True)
    told.clear()
    for small_or_huge in (0, 2**20, 32 * 2**20, 2**30 + 1):
        scratch_memory.keep_for(Compiled(small_or_huge))
    assert told == []
    scratch_memory.keep_for(Compiled(100 * 2**20))
    (option, size), (_, trimmed), then = told
    assert option == scratch_memory._MMAP_THRESHOLD and 100 * 2**20 < size < 120 * 2**20 <= trimmed and then == "trim"
    scratch_memory.keep_for(Compiled(80 * 2**20))  # fits
    assert len(told) == 3


def test_turned_off_it_gives_memory_back(told):
    assert pellucid.config.keep_scratch_memory(True)
    scratch_memory.keep_for(Compiled(100 * 2**20))
    told.clear()
    assert not pellucid.config.keep_scratch_memory(False)
    assert (scratch_memory._MMAP_THRESHOLD, scratch_memory.LEAST) in told and told[-1] == "trim"
    told.clear()
    scratch_memory.keep_for(Compiled(100 * 2**20))
    assert told == []


def test_where_glibc_refuses_large_blocks_nothing_is_kept(told, monkeypatch):
    library = scratch_memory._glibc

    def mallopt(self, option, value):  # as glibc 2.34 has it
        told.append((option, value))
        return 0 if option == scratch_memory._MMAP_THRESHOLD and value > scratch_memory.LEAST else 1

    monkeypatch.setattr(library, "mallopt", mallopt)
    assert pellucid.config.keep_scratch_memory(True)
    scratch_memory.keep_for(Compiled(100 * 2**20))
    assert not pellucid.config.keep_scratch_memory()
    assert told[-4][0] == scratch_memory._ARENA_MAX and told[-4][1] > 1  # as it was
    assert told[-3:-1] == [(scratch_memory._MMAP_THRESHOLD, 32 * 2**20), (scratch_memory._TRIM_THRESHOLD, 64 * 2**20)]


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_what_the_user_has_told_glibc_stands(monkeypatch, name):
    monkeypatch.setenv(name, "glibc.malloc.arena_max=4")
    assert pellucid.config.keep_scratch_memory(True) is False


@pytest.mark.parametrize("library", [OSError, AttributeError])
def test_without_glibc_nothing_happens(monkeypatch, library):
    def load(name):
        raise library(name)

    monkeypatch.setattr(scratch_memory.ctypes, "CDLL", load)
    assert pellucid.config.keep_scratch_memory(True) is False


def test_only_true_and_false_are_taken():
    with pytest.raises(TypeError, match=r"keep_scratch_memory: wanted='yes'; expected True or False"):
        pellucid.config.keep_scratch_memory("yes")


def resident():
    """Bytes of memory that the process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@glibc
def test_what_a_long_compilation_has_left_goes_back_to_the_system():
    if scratch_memory._glibc() is None:
        pytest.skip("another allocator, or the user's own settings of this one")
    libc = ctypes.CDLL("libc.so.6")
    libc.malloc.restype, size = ctypes.c_void_p, 50_000
    blocks = [libc.malloc(ctypes.c_size_t(size)) for _ in range(2000)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks[:-1]:  # the last one is behind them all, so that glibc keeps them
        libc.free(ctypes.c_void_p(block))
    before = resident()
    scratch_memory.give_back(0.001)
    assert resident() > before - 10e6
    scratch_memory.give_back(1.0)
    assert resident() < before - 50e6
    libc.free(ctypes.c_void_p(blocks[-1]))
