"""Normalization."""

from tests.ops.case import CUBE, LARGE, VECTOR, X, Z

CALLS = {
    "batch_normalization": [((X, Z[0], LARGE[0], -1), {}), ((X, Z[0], LARGE[0], 1), {"offset": Z[1], "scale": Z[2], "epsilon": 0.1})],
    "layer_normalization": [((X,), {}), ((CUBE, VECTOR, Z[0]), {}), ((X, VECTOR), {"epsilon": 0.1})],
    "moments": [((CUBE, [1, 2]), {}), ((X, [1]), {"keepdims": True})],
    "normalize": [((X,), {}), ((CUBE,), {"axis": 1, "order": 1})],
    "rms_normalization": [((X,), {}), ((X, VECTOR), {"epsilon": 0.1})],
}
