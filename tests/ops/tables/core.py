"""Conversions and parts of arrays."""

import numpy as np

from tests.ops.case import BOOLS, CUBE, INTS, X, Z

CALLS = {
    "cast": [((X, "int32"), {}), ((INTS, "float32"), {}), ((X, "bool"), {})],
    "convert_to_numpy": [((X,), {})],
    "convert_to_tensor": [((X.astype("float64"),), {}), (([1, 2],), {}), ((1.5,), {}), ((INTS, "float32"), {})],
    "is_tensor": [((X,), {})],
    "stop_gradient": [((X,), {})],
    "unstack": [((X,), {}), ((X,), {"axis": 1})],
    "shape": [((X,), {})],
    "rearrange": [((CUBE, "b h w -> b (w h)"), {}), ((CUBE, "b h (w c) -> (h b) c w"), {"c": 2})],
    "saturate_cast": [((300 * X, "uint8"), {}), ((INTS, "uint8"), {}), ((1e12 * X, "int32"), {}), ((1e6 * X, "float16"), {}),
                      ((X, "bool"), {}), ((BOOLS, "int32"), {})],
    "scatter": [((np.array([[0], [2], [2]]), X, (5, 4)), {})],
    "scatter_update": [((X, np.array([[0, 1], [2, 2]]), np.array([5.0, 6.0], "float32")), {}),
                       *(((X, np.array([[0], [0]]), Z[:2]), {"reduction": how}) for how in ("add", "max", "min", "mul"))],
    "slice": [((X, (0, 1), (2, 2)), {}), ((X, np.array([1, 1]), (2, 3)), {})],
    "slice_update": [((X, (1, 1), Z[:2, :2]), {})],
}  # fmt: skip
STAY = {"convert_to_numpy", "scatter", "slice", "slice_update", "unstack"}
