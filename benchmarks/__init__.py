"""Training speed beside JAX by hand, Keras and PyTorch: see README.md."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
