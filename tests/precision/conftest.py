"""Policies and 64 bits are the process's: each test leaves them as it found them."""

from __future__ import annotations

import jax
import keras
import pytest

import pellucid


@pytest.fixture(autouse=True)
def settings_put_back():
    floatx = keras.config.floatx()
    yield
    pellucid.config.set_dtype_policy(None)
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx(floatx)
    jax.config.update("jax_enable_x64", False)
