"""Compiled programs that are kept in a folder."""

import errno
import os
import pathlib
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

import pellucid
from pellucid.core import compilation_cache
from pellucid.core.compilation_cache import FolderCache

pytestmark = pytest.mark.compiles_anew


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "programs"
    pellucid.config.compilation_cache("off", size_limit=compilation_cache.SIZE_LIMIT)


def files(folder):
    return sorted(p for p in pathlib.Path(folder).rglob("*") if p.is_file())


def trained(scale=1.0):
    """A model that has been fitted; equal ones compile equal programs."""

    class Small(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.out = pellucid.layers.Dense(1)

        def call(self, x):
            return self.out(x) * scale

    pellucid.utils.set_random_seed(0)
    model = Small()
    model.compile("sgd", "mse")
    model.fit(np.ones((8, 2), "float32"), np.ones((8, 1), "float32"), verbose=0)
    return model


# ---- From start to start ----


def test_a_program_is_found_again_and_the_ledger_says_so(folder):
    pellucid.config.compilation_cache(folder)
    first, second, other = trained(), trained(), trained(scale=2.0)
    assert [m.ledger.programs[0].from_cache for m in (first, second, other)] == [False, True, False]
    assert "kept by an earlier run" in second.ledger.story() and "kept by an earlier run" not in first.ledger.story()
    assert "(kept)" in str(second.ledger) and "(kept)" not in str(first.ledger)
    assert second.ledger.programs[0].as_dict()["from_cache"] is True
    np.testing.assert_array_equal(first.get_weights()[0], second.get_weights()[0])


def test_programs_that_compile_in_no_time_are_kept_too(folder):
    pellucid.config.compilation_cache(folder)
    jax.jit(lambda x: x * 3 + 1)(np.float32(2))
    assert files(folder)


def test_off_keeps_nothing(folder):
    assert pellucid.config.compilation_cache(folder).folder == str(folder)
    assert pellucid.config.compilation_cache("off").folder is None
    trained()
    assert not folder.exists()
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 1.0  # as JAX has it


def test_jaxs_own_setting_goes_before(folder, tmp_path):
    pellucid.config.compilation_cache(folder)
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    try:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.jit(lambda x: x * 5 + 2)(np.float32(2))
        assert files(tmp_path / "own") and not files(folder)
        pellucid.config.compilation_cache(folder)
        jax.jit(lambda x: x * 7 + 2)(np.float32(2))
        assert not files(folder)
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
        pellucid.config.compilation_cache("off")


@pytest.mark.slow
def test_the_next_process_finds_what_two_at_once_have_kept(folder):
    script = "from tests.core.test_compilation_cache import trained; print(trained().ledger.programs[0].from_cache)"
    root = pathlib.Path(__file__).parents[2]
    environment = {**os.environ, compilation_cache.VARIABLE: str(folder), "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
    start = lambda: subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
    both = [start(), start()]
    assert [p.communicate(timeout=120)[0] for p in both] and [p.returncode for p in both] == [0, 0]
    assert start().communicate(timeout=120)[0].strip() == "True"


# ---- Where the folder is ----


@pytest.mark.parametrize(
    "platform, environment, expected",
    [
        ("linux", {"XDG_CACHE_HOME": "/caches"}, "/caches/pellucid/programs"),
        ("linux", {"HOME": "/home/me"}, "/home/me/.cache/pellucid/programs"),
        ("darwin", {"HOME": "/Users/me"}, "/Users/me/Library/Caches/pellucid/programs"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/pellucid/programs"),
        ("win32", {}, None),
        ("linux", {compilation_cache.VARIABLE: "/mine"}, "/mine"),
        ("linux", {compilation_cache.VARIABLE: "OFF", "HOME": "/home/me"}, None),
    ],
)
def test_the_folder_is_where_the_system_has_caches(monkeypatch, folder, platform, environment, expected):
    for name in ("XDG_CACHE_HOME", compilation_cache.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    compilation_cache.install()
    assert compilation_cache.kept().folder == expected


def test_the_folder_is_for_the_user_alone(folder):
    FolderCache(str(folder), 1000, True).put("a", b"1")
    assert all(p.stat().st_mode & 0o077 == 0 for p in (folder, *folder.rglob("*")))


# ---- Whatever the file system does ----


def test_an_entry_comes_back_and_a_damaged_one_is_removed(folder):
    cache = FolderCache(str(folder), 10_000, True)
    cache.put("a", b"12345")
    assert cache.get("a") == b"12345" and cache.get("b") is None
    (path,) = files(folder)
    for damaged in (path.read_bytes()[:-1], path.read_bytes()[:-1] + b"6", b"", b"12"):
        path.write_bytes(damaged)
        assert cache.get("a") is None and not path.exists()
        cache.put("a", b"12345")
        assert cache.get("a") == b"12345"


def test_a_damaged_program_is_compiled_again(folder):
    pellucid.config.compilation_cache(folder)
    trained()
    for path in files(folder):
        path.write_bytes(path.read_bytes()[:-100])
    assert trained().ledger.programs[0].from_cache is False
    assert trained().ledger.programs[0].from_cache is True


def test_what_was_used_longest_ago_goes_first(folder):
    cache = FolderCache(str(folder), 350, True)
    for age, key in ((30, "old"), (20, "used"), (10, "new")):
        cache.put(key, bytes(96))
        os.utime(next(p for p in files(folder) if p.name.startswith(key)), (time.time() - age,) * 2)
    assert cache.get("used")
    cache.put("last", bytes(96))
    assert [cache.get(key) is not None for key in ("old", "used", "new", "last")] == [False, True, True, True]
    (folder / "half").write_bytes(bytes(100))  # of a process that was killed
    os.utime(folder / "half", (time.time() - 7200,) * 2)
    cache.put("next", bytes(96))
    assert not (folder / "half").exists() and cache.get("next")
    cache.put("huge", bytes(400))
    assert cache.get("huge") is None and cache.get("next")
    assert sum(p.stat().st_size for p in files(folder)) <= 350


def test_an_entry_whose_time_cannot_be_set_is_found(folder, monkeypatch):
    cache = FolderCache(str(folder), 1000, True)
    cache.put("a", b"1")

    def refuses(*args):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuses)
    assert cache.get("a") == b"1"


def test_a_full_disk_is_told_once_and_leaves_nothing_half_written(folder, monkeypatch):
    cache = FolderCache(str(folder), 1000, True)

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(UserWarning, match=r"cannot be kept in .*No space left.*pellucid\.config\.compilation_cache") as told:  # noqa: PT031
        cache.put("a", b"1")
        cache.put("b", b"1")
    assert len(told) == 1 and not files(folder)


def test_a_folder_that_cannot_be_made_is_told_of_only_if_it_was_asked_for(tmp_path, folder):
    (tmp_path / "file").write_text("")
    silent = FolderCache(str(tmp_path / "file" / "programs"), 1000, False)
    silent.put("a", b"1")
    assert silent.get("a") is None
    pellucid.config.compilation_cache(tmp_path / "file" / "programs")
    with pytest.warns(UserWarning, match=compilation_cache.VARIABLE) as told:
        trained()
    assert len(told) == 1


def _write(folder, number):
    cache = FolderCache(folder, 2000, True)
    for i in range(60):
        cache.put(f"{number % 2}-{i % 7}", bytes([i % 7]) * 300)
        found = cache.get(f"{(number + 1) % 2}-{i % 7}")
        assert found is None or found == bytes([i % 7]) * 300


def test_several_that_know_nothing_of_each_other_write_read_and_remove_at_once(folder):
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(_write, [str(folder)] * 4, range(4))) == [None] * 4


# ---- Mistakes ----


@pytest.mark.parametrize(
    "given, error, message",
    [
        ({"folder": 3}, TypeError, r'compilation_cache: folder=3; expected a path, "off" or None'),
        ({"size_limit": 0}, ValueError, "compilation_cache: size_limit=0; expected a positive whole number"),
        ({"size_limit": "1 GB"}, ValueError, "compilation_cache: size_limit='1 GB'; expected a positive whole number"),
    ],
)
def test_a_wrong_setting_is_named(given, error, message):
    with pytest.raises(error, match=message):
        pellucid.config.compilation_cache(**given)
