"""Memory: what a capture leaves behind is what JAX keeps of any trace, and little more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def growth(kind: str) -> float:
    """MB by which a fresh process grows over 1,000 captures, after the first ones have filled what is bounded."""
    script = Path(__file__).with_name("many_captures.py")
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    ran = subprocess.run([sys.executable, script, kind], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return float(ran.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the size of the process from /proc")
def test_a_thousand_captures_with_new_shapes_keep_little_more_than_plain_jax():
    plain, ours = growth("plain"), growth("ours")
    assert ours - plain < 20, f"1,000 captures grew the process by {ours:.0f} MB, plain traces by {plain:.0f} MB"
