"""Mixed precision: computation in half precision, weights in float32; under the names that Keras has for it."""

from pellucid.core.policies import DTypePolicy, dtype_policy, set_dtype_policy
from pellucid.optimizers import LossScaleOptimizer

Policy = DTypePolicy
global_policy, set_global_policy = dtype_policy, set_dtype_policy

__all__ = [
    "DTypePolicy",
    "LossScaleOptimizer",
    "Policy",
    "dtype_policy",
    "global_policy",
    "set_dtype_policy",
    "set_global_policy",
]
