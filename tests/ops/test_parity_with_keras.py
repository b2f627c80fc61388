"""Every function that has Keras's name gives Keras's numbers, with the defaults that Keras has."""

import keras
import numpy as np
import pytest

import pellucid
from pellucid import ops

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(3, 4)).astype("float32")
Z = RANDOM.normal(size=(3, 4)).astype("float32")
SQUARE = RANDOM.normal(size=(4, 4)).astype("float32")
UNIT = np.tanh(X)
LARGE = np.abs(X) + 1
CUBE = RANDOM.normal(size=(2, 3, 4)).astype("float32")
INTS = np.array([[3, -1, 2], [0, 5, -7]], "int32")
BOOLS = X > 0
VECTOR = X[0]
HEADS = RANDOM.normal(size=(2, 4, 4, 4)).astype("float32")  # batch, steps, heads, features
MASK4 = np.array([[True, False, True, True], [True, True, False, False]])[:, None, None]
MASK = MASK4[..., :2]
ODD = np.array([1.0, np.nan, np.inf, -np.inf], "float32")


def each(names, calls):
    return {name: calls for name in names.split()}


TWO = [((X, Z), {}), ((X, Z[0]), {}), ((X, 2.0), {})]
REDUCED = [((CUBE,), {}), ((CUBE,), {"axis": (0, 2)}), ((CUBE,), {"axis": 1, "keepdims": True})]
# name: calls, each (arguments, options)
CALLS = {
    **each("abs absolute ceil cos cosh exp expm1 floor negative sign sin sinh square tan tanh", [((X,), {})]),
    **each("arcsin arccos arctanh arctan arcsinh erf", [((UNIT,), {})]),
    **each("log log10 log1p log2 sqrt rsqrt reciprocal arccosh", [((LARGE,), {})]),
    **each("real imag conj copy ones_like zeros_like ravel ndim size shape", [((X,), {})]),
    **each("relu6 selu sigmoid silu swish log_sigmoid softplus celu elu gelu glu relu leaky_relu", [((2 * X,), {})]),
    **each("softmax log_softmax", [((X,), {}), ((CUBE,), {"axis": 1})]),
    **each("isfinite isinf isnan nan_to_num", [((ODD,), {})]),
    **each("add subtract multiply maximum minimum arctan2 logaddexp", TWO),
    **each("divide true_divide floor_divide mod", [((X, LARGE), {}), ((INTS, 2), {})]),
    **each("equal not_equal less less_equal greater greater_equal", [((INTS, 2), {}), ((X, Z), {})]),
    **each("logical_and logical_or logical_xor", [((BOOLS, ~BOOLS), {}), ((BOOLS, BOOLS[0]), {})]),
    **each("max min amax amin mean std var sum prod", REDUCED),
    **each("all any", [((BOOLS,), {}), ((BOOLS,), {"axis": 1})]),
    **each("argmax argmin", [((X,), {}), ((X,), {"axis": 1}), ((X,), {"axis": 0, "keepdims": True})]),
    **each("cumsum cumprod", [((X,), {}), ((X,), {"axis": 1})]),
    **each("matmul dot inner", [((X, SQUARE), {}), ((VECTOR, VECTOR), {})]),
    **each("tril triu", [((SQUARE,), {}), ((SQUARE,), {"k": 1})]),
    **each("ones zeros", [(((2, 3),), {}), ((2,), {"dtype": "int32"})]),
    **each("hstack vstack", [(([X, Z],), {})]),
    "append": [((X, Z), {}), ((X, Z), {"axis": 0})],
    "arange": [((5,), {}), ((1, 7, 2), {}), ((0.0, 1.0, 0.25), {})],
    "argsort": [((X,), {}), ((X,), {"axis": 0})],
    "array": [(([1.0, 2.0],), {}), (([1, 2],), {}), ((X.astype("float64"),), {}), ((True,), {})],
    "average": [((X,), {}), ((X,), {"axis": 1, "weights": LARGE[0]})],
    "broadcast_to": [((VECTOR, (3, 4)), {})],
    "cast": [((X, "int32"), {}), ((INTS, "float32"), {}), ((X, "bool"), {})],
    "clip": [((X, -0.5, 0.5), {})],
    "concatenate": [(([X, Z],), {}), (([X, Z],), {"axis": -1})],
    "convert_to_numpy": [((X,), {})],
    "convert_to_tensor": [((X.astype("float64"),), {}), (([1, 2],), {}), ((1.5,), {}), ((INTS, "float32"), {})],
    "count_nonzero": [((INTS,), {}), ((INTS,), {"axis": 1})],
    "cross": [((X[:, :3], Z[:, :3]), {})],
    "diag": [((VECTOR,), {}), ((SQUARE,), {"k": 1})],
    "diagonal": [((SQUARE,), {}), ((SQUARE,), {"offset": -1})],
    "diff": [((X,), {}), ((X,), {"n": 2, "axis": 0})],
    "digitize": [((X, np.array([-1.0, 0.0, 1.0], "float32")), {})],
    "dot_product_attention": [
        ((HEADS, HEADS, HEADS), {}),
        ((HEADS, HEADS, HEADS), {"is_causal": True}),
        ((HEADS, HEADS, HEADS), {"scale": 2.0, "bias": HEADS[:1, :1]}),
        ((HEADS, HEADS[:, :2], HEADS[:, :2]), {"mask": MASK, "is_causal": True}),
        ((HEADS, HEADS[:, :, :2], HEADS[:, :, :2]), {"mask": MASK4}),
    ],
    "einsum": [(("ij,kj->ik", X, Z), {})],
    "expand_dims": [((X, 1), {}), ((X, (0, -1)), {})],
    "eye": [((3,), {}), ((2, 3), {"k": 1})],
    "flip": [((X,), {}), ((X,), {"axis": 1})],
    "full": [(((2, 2), 3.0), {})],
    "full_like": [((X, 3), {})],
    "identity": [((3,), {})],
    "is_tensor": [((X,), {})],
    "isclose": [((X, X + 1e-9), {})],
    "linspace": [((0.0, 1.0, 5), {}), ((0.0, 1.0), {"num": 4, "endpoint": False})],
    "logical_not": [((BOOLS,), {})],
    "logsumexp": [((X,), {}), ((X,), {"axis": 1, "keepdims": True})],
    "median": [((X,), {}), ((X,), {"axis": 0})],
    "meshgrid": [((VECTOR, VECTOR[:2]), {})],
    "moveaxis": [((CUBE, 0, -1), {})],
    "nonzero": [((INTS,), {})],
    "one_hot": [((np.array([0, 2, 1]), 3), {}), ((np.array([0, 3]), 3), {"axis": 0})],
    "outer": [((VECTOR, VECTOR), {})],
    "pad": [((X, 1), {}), ((X, ((0, 1), (2, 0))), {"constant_values": 5.0}), ((X, 1), {"mode": "reflect"})],
    "power": [((LARGE, X), {}), ((INTS, 2), {})],
    "quantile": [((X, 0.3), {}), ((X, np.array([0.1, 0.5], "float32")), {"axis": 1})],
    "repeat": [((X, 2), {}), ((X, 2), {"axis": 0})],
    "reshape": [((X, (2, -1)), {})],
    "roll": [((X, 2), {}), ((X, 1), {"axis": 1})],
    "round": [((10 * X,), {}), ((10 * X,), {"decimals": 1})],
    "sort": [((X,), {}), ((X,), {"axis": 0})],
    "split": [((X, 2), {"axis": 1}), ((X, [1, 3]), {"axis": 1}), ((X, 3), {})],
    "squeeze": [((X[:, None],), {}), ((X[None, :, None],), {"axis": 0})],
    "stack": [(([X, Z],), {}), (([X, Z],), {"axis": -1})],
    "stop_gradient": [((X,), {})],
    "swapaxes": [((CUBE, 0, 2), {})],
    "take": [((X, np.array([0, 2])), {}), ((X, np.array([0, 2])), {"axis": 1}), ((X, np.array([-1])), {"axis": 0})],
    "take_along_axis": [((X, np.argsort(X, 1)), {"axis": 1})],
    "tensordot": [((CUBE, CUBE), {"axes": [[1, 2], [1, 2]]}), ((X, SQUARE), {"axes": 1})],
    "tile": [((X, (2, 1)), {}), ((X, 2), {})],
    "top_k": [((X, 2), {})],
    "trace": [((SQUARE,), {}), ((SQUARE,), {"offset": 1})],
    "transpose": [((CUBE,), {}), ((CUBE, (1, 0, 2)), {})],
    "tri": [((3,), {}), ((2, 3), {"k": 1})],
    "unstack": [((X,), {}), ((X,), {"axis": 1})],
    "vdot": [((X, Z), {})],
    "where": [((BOOLS, X, Z), {}), ((BOOLS, X, 0.0), {})],
}  # fmt: skip
TAKE_FUNCTIONS = {
    "cond",
    "switch",
    "scan",
    "associative_scan",
    "while_loop",
    "fori_loop",
    "map",
    "vectorized_map",
}  # tests/ops/test_control.py
WINDOWS = {  # tests/ops/test_windows.py
    *("conv", "conv_transpose", "depthwise_conv", "separable_conv"),
    *("max_pool", "average_pool", "adaptive_max_pool", "adaptive_average_pool"),
}


def arrays(result):
    return [np.asarray(r) for r in result] if isinstance(result, list | tuple) else [np.asarray(result)]


@pytest.mark.parametrize("name", CALLS)
def test_function_gives_the_numbers_of_keras(name):
    for args, options in CALLS[name]:
        ours, theirs = arrays(getattr(ops, name)(*args, **options)), arrays(getattr(keras.ops, name)(*args, **options))
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            assert a.shape == b.shape and a.dtype.kind == b.dtype.kind, (options, a, b)
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=str(options))


def test_every_function_that_keras_has_too_is_in_the_table():
    shared = {name for name in ops.__all__ if hasattr(keras.ops, name) and callable(getattr(ops, name))}
    assert shared - TAKE_FUNCTIONS - WINDOWS - {"empty"} == set(CALLS)


def test_public_names_are_functions():
    assert not [name for name in ops.__all__ if not callable(getattr(ops, name))]


def test_variables_stand_for_arrays():
    v = pellucid.Variable(SQUARE)
    for name in ("sum", "mean", "exp", "tanh", "relu", "softmax", "transpose", "convert_to_tensor", "stop_gradient", "shape"):
        np.testing.assert_allclose(getattr(ops, name)(v), getattr(ops, name)(SQUARE), rtol=1e-6, err_msg=name)
    for name in ("matmul", "add", "maximum", "dot"):
        np.testing.assert_allclose(getattr(ops, name)(v, SQUARE), getattr(ops, name)(SQUARE, SQUARE), rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(ops.concatenate([v, v]), np.concatenate([SQUARE, SQUARE]))
