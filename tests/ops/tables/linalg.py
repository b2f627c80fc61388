"""Linear algebra."""

import numpy as np

from tests.ops.case import CUBE, RANDOM, SQUARE, VECTOR, X

STACK = RANDOM.normal(size=(2, 3, 3)).astype("float32")
POSITIVE = STACK @ STACK.swapaxes(1, 2) + np.eye(3, dtype="float32")
LOWER = np.linalg.cholesky(POSITIVE)

CALLS = {
    "cholesky": [((POSITIVE,), {}), ((POSITIVE,), {"upper": True})],
    "cholesky_inverse": [((LOWER[0],), {}), ((LOWER[0].T,), {"upper": True})],
    "det": [((STACK,), {})],
    "eig": [((POSITIVE[0],), {})],
    "eigh": [((POSITIVE,), {})],
    "inv": [((STACK,), {})],
    "logdet": [((POSITIVE,), {})],
    "lstsq": [((X, X[:, 0]), {})],
    "lu_factor": [((STACK,), {})],
    "matrix_rank": [((STACK,), {}), ((np.ones((3, 3), "float32"),), {"tol": 0.1})],
    "norm": [((X,), {}), ((CUBE,), {"axis": -1, "keepdims": True}), ((SQUARE,), {"ord": "nuc"}), ((VECTOR,), {"ord": 1})],
    "pinv": [((X,), {}), ((STACK,), {"rcond": 0.1})],
    "qr": [((CUBE,), {}), ((X.T,), {"mode": "complete"})],
    "slogdet": [((STACK,), {})],
    "solve": [((STACK, CUBE[:, :, :2]), {})],
    "solve_triangular": [((LOWER, CUBE[:, :, :2]), {"lower": True})],
    "svd": [((CUBE,), {"full_matrices": False}), ((X,), {"compute_uv": False})],
}
STAY = {"cholesky_inverse", "eig", "lstsq", "pinv"}  # Keras has them for single matrices; the tolerance of pinv depends on the sizes
