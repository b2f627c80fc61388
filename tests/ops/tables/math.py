"""Functions of mathematics and of signals."""

import numpy as np

from tests.ops.case import CUBE, LARGE, RANDOM, UNIT, VECTOR, X, Z, each

SIGNAL = RANDOM.normal(size=(2, 20)).astype("float32")
SPECTRUM = tuple(RANDOM.normal(size=(2, 2, 4, 5)).astype("float32"))

CALLS = {
    "erf": [((UNIT,), {})],
    "rsqrt": [((LARGE,), {})],
    "logsumexp": [((X,), {}), ((X,), {"axis": 1, "keepdims": True})],
    "top_k": [((X, 2), {})],
    **each("erfc erfinv", [((UNIT,), {})]),
    **each("fft", [(((X, Z),), {})]),
    **each("fft2 ifft2", [(((CUBE, CUBE[::-1]),), {})]),
    **each("segment_max segment_min segment_prod segment_sum", [((X, np.array([0, 2, 0])), {"num_segments": 3}),
                                                                 ((VECTOR, np.array([0, 0, 1, 1])), {"num_segments": 2, "sorted": True})]),
    "cdist": [((X, Z[:2]), {}), ((CUBE, CUBE), {})],
    "extract_sequences": [((X, 3, 1), {}), ((CUBE, 2, 2), {})],
    "in_top_k": [((np.array([1, 0, 3]), X, 2), {})],
    "irfft": [(((X, Z),), {}), (((X, Z),), {"fft_length": 5})],
    "istft": [((SPECTRUM, 8, 4, 8), {"length": 10, "window": "hamming"})],
    "rfft": [((X,), {}), ((X,), {"fft_length": 6}), ((X,), {"fft_length": 3})],
    "stft": [((SIGNAL, 8, 4, 8), {"window": "hamming", "center": False}),
             ((SIGNAL, 6, 2, 8), {"window": None}), ((SIGNAL, 8, 2, 8), {"window": np.hanning(8)})],
    "view_as_complex": [((X[:, :2],), {})],
    "view_as_real": [((X + 1j * Z,), {})],
}  # fmt: skip
STAY = {"segment_max", "segment_min", "segment_prod", "segment_sum"}  # their rows become segments
