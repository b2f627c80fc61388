"""Pellucid: Keras's model-subclassing API on JAX, in which running ``call`` is one event that you can see."""

from typing import TYPE_CHECKING

import jax as _jax  # all builds on it; the rest is imported where it is used first

from pellucid.core.lazily import at_first_use

if TYPE_CHECKING:
    from pellucid import (
        activations,
        backend,
        callbacks,
        config,
        constraints,
        datasets,
        dtype_policies,
        initializers,
        layers,
        losses,
        metrics,
        mixed_precision,
        models,
        ops,
        optimizers,
        preprocessing,
        random,
        regularizers,
        saving,
        testing,
        tree,
        utils,
    )
    from pellucid.core.frame import value_and_grad
    from pellucid.core.input_spec import InputSpec
    from pellucid.core.policies import DTypePolicy, FloatDTypePolicy
    from pellucid.core.rematerialization import RematScope
    from pellucid.core.scopes import StatelessScope, device, name_scope
    from pellucid.core.symbolic import SymbolicTensor as KerasTensor
    from pellucid.core.variable import Variable
    from pellucid.errors import (
        CaptureBudgetError,
        CaptureError,
        DataError,
        DataWarning,
        KeptValueError,
        NonFiniteError,
        NotBuiltError,
        ShapeError,
        SideEffectError,
        SideEffectWarning,
    )
    from pellucid.initializers import Initializer
    from pellucid.layers import Layer
    from pellucid.losses import Loss
    from pellucid.metrics import Metric
    from pellucid.models import Input, Model, Sequential
    from pellucid.models.functionalize import functionalize
    from pellucid.ops import print, remat
    from pellucid.optimizers import Optimizer
    from pellucid.regularizers import Regularizer
    from pellucid.utils.aliases import install_as_keras
else:
    __getattr__, __dir__ = at_first_use()

__version__ = "0.1.0"


def version() -> str:
    """The version of Pellucid."""
    return __version__


__all__ = [
    "CaptureBudgetError",
    "CaptureError",
    "DTypePolicy",
    "DataError",
    "DataWarning",
    "FloatDTypePolicy",
    "Initializer",
    "Input",
    "InputSpec",
    "KeptValueError",
    "KerasTensor",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "NonFiniteError",
    "NotBuiltError",
    "Optimizer",
    "Regularizer",
    "RematScope",
    "Sequential",
    "ShapeError",
    "SideEffectError",
    "SideEffectWarning",
    "StatelessScope",
    "Variable",
    "activations",
    "backend",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "device",
    "dtype_policies",
    "functionalize",
    "initializers",
    "install_as_keras",
    "layers",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "name_scope",
    "ops",
    "optimizers",
    "preprocessing",
    "print",
    "random",
    "regularizers",
    "remat",
    "saving",
    "testing",
    "tree",
    "utils",
    "value_and_grad",
    "version",
]
