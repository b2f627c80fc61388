"""Every function that has Keras's name takes Keras's arguments and gives Keras's numbers, with the defaults that Keras has."""

import inspect

import jax
import keras
import numpy as np
import pytest
from jax import export

import pellucid
from pellucid import ops
from pellucid.ops import numpy
from tests.cases import some_slow
from tests.ops.case import SQUARE
from tests.ops.tables import CALLS, STAY

ELSEWHERE = {
    *("cond", "switch", "scan", "associative_scan", "while_loop", "fori_loop", "map", "vectorized_map"),  # test_control.py
    *("conv", "conv_transpose", "depthwise_conv", "separable_conv"),  # test_windows.py
    *("max_pool", "average_pool", "adaptive_max_pool", "adaptive_average_pool"),
    *("custom_gradient", "jvp", "dtype", "sparsemax", "vectorize"),  # test_functions.py
    *("empty", "empty_like"),
}
SHARED = sorted({name for name in ops.__all__ if callable(getattr(keras.ops, name, None))})


def arrays(result):
    return [np.asarray(r) for r in result] if isinstance(result, list | tuple) else [np.asarray(result)]


# JAX's own functions under Keras's names: what is ours is the names, which the next tests look at
THIN = {name for names in numpy.ARGUMENTS.values() for name in names.split()}
SOME = {
    *("argmax", "bitwise_and", "clip", "concatenate", "cumsum", "expand_dims", "full_like", "isclose"),
    *("mean", "nanmean", "quantile", "reshape", "sum", "take", "transpose"),
}


@pytest.mark.parametrize("name", some_slow(CALLS, sorted((set(CALLS) - THIN) | SOME)[::2]))
def test_function_gives_the_numbers_of_keras(name):
    for args, options in CALLS[name]:
        ours, theirs = arrays(getattr(ops, name)(*args, **options)), arrays(getattr(keras.ops, name)(*args, **options))
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            assert a.shape == b.shape and a.dtype.kind == b.dtype.kind, (options, a, b)
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=str(options))


def test_every_function_that_keras_has_too_is_in_the_table():
    assert set(SHARED) - ELSEWHERE == set(CALLS)


def test_public_names_are_functions():
    assert not [name for name in ops.__all__ if not callable(getattr(ops, name))]


@pytest.mark.parametrize("name", SHARED)
def test_arguments_have_the_names_and_the_order_that_keras_gives_them(name):
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ours, theirs = (
        [n for n, p in inspect.signature(getattr(side, name)).parameters.items() if p.kind not in kinds] for side in (ops, keras.ops)
    )
    assert ours[: len(theirs)] == theirs


def symbolic(args, options):
    """The arrays with rows among the arguments, as types with a batch of unknown size; None where a call is about the rows themselves."""
    arrays = {key: a for key, a in [*zip("0123456789", args), *options.items()] if isinstance(a, np.ndarray) and a.ndim > 1}
    rows = {a.shape[0] for a in arrays.values()} - {1}
    if "0" not in arrays or len(rows) > 1 or options.get("axis", 1) in (0, None):
        return None
    (batch,) = export.symbolic_shape("batch")
    opened = {key: a for key, a in arrays.items() if a.shape[0] != 1}
    return {key: jax.ShapeDtypeStruct((batch, *a.shape[1:]), jax.dtypes.canonicalize_dtype(a.dtype)) for key, a in opened.items()}


def filled(args, options, given):
    """The arguments with what is given for some of them."""
    return [given.get(str(i), a) for i, a in enumerate(args)], {name: given.get(name, value) for name, value in options.items()}


@pytest.mark.parametrize("name", some_slow(sorted(set(CALLS) - STAY), sorted(set(CALLS) - STAY)[::4]))
def test_function_takes_a_batch_of_unknown_size(name):
    def call(args, options):
        return getattr(ops, name)(*args, **options)

    for args, options in CALLS[name]:
        specs = symbolic(args, options)
        if specs is not None:
            jax.eval_shape(lambda given, args=args, options=options: call(*filled(args, options, given)), specs)


def test_lists_and_names_of_arguments_are_taken():
    assert float(ops.sum(x=[1, 2, 3])) == 6 and float(ops.mean([1.0, 3.0], None, False)) == 2
    assert ops.reshape(x=[1, 2], newshape=(2, 1)).shape == (2, 1)
    assert ops.add(x1=[1, 2], x2=1).tolist() == [2, 3]
    assert ops.sum(np.ones((2, 2)), where=np.eye(2, dtype=bool)) == 2  # what only JAX has
    symbolic = ops.matmul(x1=pellucid.Input((3,)), x2=np.ones((3, 2)))
    assert symbolic.shape == (None, 2)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: ops.add(1, 2, 3), r"add\(\) takes 2 arguments by position \(x1, x2\), but got 3"),
        (lambda: ops.add(1, x1=2), r"add\(\) got 'x1' both by position and by name"),
        (lambda: ops.add(x2=2), r"add\(\) misses 'x1'; its arguments are \(x1, x2\)"),
    ],
)
def test_wrong_arguments_are_named(call, says):
    with pytest.raises(TypeError, match=says):
        call()


def test_variables_stand_for_arrays():
    v = pellucid.Variable(SQUARE)
    for name in ("sum", "mean", "exp", "tanh", "relu", "softmax", "transpose", "convert_to_tensor", "stop_gradient", "shape"):
        np.testing.assert_allclose(getattr(ops, name)(v), getattr(ops, name)(SQUARE), rtol=1e-6, err_msg=name)
    for name in ("matmul", "add", "maximum", "dot"):
        np.testing.assert_allclose(getattr(ops, name)(v, SQUARE), getattr(ops, name)(SQUARE, SQUARE), rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(ops.concatenate([v, v]), np.concatenate([SQUARE, SQUARE]))
