"""Functions that take functions, properties of some others, and what errors say."""

import itertools

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from jax import export

import pellucid
from pellucid import ops, regularizers
from tests.ops.case import CUBE, RANDOM, X

SPEECH = RANDOM.normal(size=(2, 6, 4)).astype("float32")


def test_a_function_has_its_own_gradient_also_for_variables():
    @ops.custom_gradient
    def cube(x):
        return x**3, lambda upstream: upstream * 100.0

    weight = pellucid.Variable(2.0)
    value, gradients = pellucid.value_and_grad(lambda: cube(weight), [weight])()
    assert float(value) == 8.0 and float(gradients[0]) == 100.0


def test_jvp_and_vectorize_are_those_of_keras():
    for ours, theirs in zip(ops.jvp(jnp.sin, (X,), (CUBE[0],)), keras.ops.jvp(jnp.sin, (X,), (CUBE[0],))):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    outer = lambda side: side.vectorize(lambda a, b: a @ b, signature="(m),(m)->()")(X, X[0])
    np.testing.assert_allclose(outer(ops), outer(keras.ops), rtol=1e-6)


def test_the_type_of_an_array_is_a_name():
    assert ops.dtype(X) == keras.ops.dtype(X) == "float32" and ops.dtype(ops.array([1])) == "int32"


def test_sparsemax_sums_to_one():
    np.testing.assert_allclose(ops.sparsemax(X).sum(-1), 1, rtol=1e-6)  # Keras: 0.21 in the first row


@pytest.mark.parametrize("window", ["hann", None])
@pytest.mark.parametrize("center", [True, False])
def test_windows_of_a_signal_give_it_back(window, center):
    signal = RANDOM.normal(size=(2, 24)).astype("float32")
    spectrum = ops.stft(signal, 8, 4, 8, window, center)
    inner = slice(None) if center else slice(4, 20)
    np.testing.assert_allclose(ops.istft(spectrum, 8, 4, 8, None, window, center)[:, inner], signal[:, inner], rtol=1e-4, atol=1e-5)


def test_all_labels_that_there_are_have_a_probability_of_one_together():
    labels = [label for length in range(4) for label in itertools.product((1, 2), repeat=length)]
    lengths = np.array([len(label) for label in labels])
    targets = np.array([(*label, 0, 0, 0)[:3] for label in labels])
    losses = ops.ctc_loss(targets, np.repeat(SPEECH[:1, :3, :3], len(labels), 0), lengths, np.full(len(labels), 3))
    assert float(np.exp(-losses).sum()) == pytest.approx(1.0, rel=1e-5)


def test_the_best_labels_have_the_probability_that_the_loss_says():
    paths, scores = ops.ctc_decode(SPEECH[:, :4], [4, 3], "beam_search", beam_width=200)
    expected = -ops.ctc_loss(np.maximum(paths[0], 0), SPEECH[:, :4], (paths[0] >= 0).sum(-1), [4, 3])
    np.testing.assert_allclose(expected, scores[:, 0], rtol=1e-5)


@pytest.mark.parametrize("strategy", ["greedy", "beam_search"])
def test_labels_of_a_batch_of_unknown_size(strategy):
    batch, time = export.symbolic_shape("batch, time")
    specs = [jax.ShapeDtypeStruct((batch, 3), "int32"), jax.ShapeDtypeStruct((batch, time, 4), "float32")]
    lengths = [jax.ShapeDtypeStruct((batch,), "int32")] * 2

    def both(target, scores, target_length, length):
        return ops.ctc_loss(target, scores, target_length, length), ops.ctc_decode(scores, length, strategy, 5, 1)

    loss, (paths, best) = jax.eval_shape(jax.jit(both), *specs, *lengths)
    assert loss.shape == (batch,) and paths.shape == (1, batch, time) and best.shape == (batch, 1)
    gradient = jax.grad(lambda scores: ops.ctc_loss(np.array([[1, 2]]), scores, [2], [6]).sum())(SPEECH[:1])
    assert np.isfinite(gradient).all() and np.abs(gradient).sum() > 0


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: ops.pad(X, 1, "reflect", 0), 'constant_values=0 is for mode="constant"'),
        (lambda: ops.one_hot([1], 2, sparse=True), "one_hot: sparse=True, but sparse arrays are not offered"),
        (lambda: ops.convert_to_tensor([1], ragged=True), "only dense arrays are offered"),
        (lambda: ops.cdist(X, X[:, :2]), r"cdist: x has shape \(3, 4\) and y has shape \(3, 2\)"),
        (lambda: ops.segment_sum(X, [0, 1, 1]), "segment_sum: num_segments=None"),
        (lambda: ops.view_as_complex(X), r"view_as_complex: x has shape \(3, 4\)"),
        (lambda: ops.stft(X, 3, 1, 2), "fft_length=2 is less than sequence_length=3"),
        (lambda: ops.stft(X, 3, 1, 4, "hamm"), "window='hamm' is not known"),
        (lambda: ops.stft(X, 3, 1, 4, np.ones(4)), r"window has shape \(4,\); expected \(3,\)"),
        (lambda: ops.fft(X), "fft: x is a ndarray; expected a pair"),
        (lambda: ops.fft((X, X[:1])), "the real part has shape"),
        (lambda: ops.qr(X, "full"), "qr: mode='full' is not known"),
        (lambda: ops.cholesky(-np.eye(2)), "cholesky: x is not positive definite"),
        (lambda: ops.scatter_update(X, [[0]], X[:1], "mean"), "reduction='mean' is not known"),
        (lambda: ops.rearrange(X, "a b c -> a b c"), r"the pattern 'a b c -> a b c' does not fit an array of shape \(3, 4\)"),
        (lambda: ops.rearrange(X, "a (b c) -> a b c", b=3), r"an axis of size 4 cannot be split into \(b c\) with \{'b': 3\}"),
        (lambda: ops.psnr(X, X[:1], 1.0), "psnr: x1 has shape"),
        (lambda: ops.binary_crossentropy(X, X[:1]), "binary_crossentropy: target has shape"),
        (lambda: ops.ctc_loss([1], X, [1], [3]), r"ctc_loss: target has shape \(1,\)"),
        (lambda: ops.ctc_decode(SPEECH, [6, 4], "best"), "strategy='best' is not known"),
    ],
)
def test_errors_name_the_value_and_what_was_expected(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_whole_numbers_are_no_signal():
    with pytest.raises(TypeError, match="stft: x is of type int32"):
        ops.stft(np.arange(9, dtype="int32"), 3, 1, 4)


FINITE = {  # name: (function, where its gradient would be infinite or no number)
    "distance of equal rows": (lambda x: ops.cdist(x, x), jnp.ones((2, 3))),
    "third norm": (lambda x: ops.normalize(x, order=3), jnp.zeros((2, 3))),
    "crossentropy in half precision": (lambda p: ops.binary_crossentropy(p, p), jnp.array([0.0, 1.0], "bfloat16")),
    "crossentropy in 16 bits": (lambda p: ops.binary_crossentropy(jnp.round(p), p), jnp.array([0.0, 1.0], "float16")),
    "labels that are padding": (
        lambda x: ops.ctc_loss(jnp.array([[1, 50]]), x, jnp.array([1]), jnp.array([3])),
        jnp.zeros((1, 4, 3)),
    ),
    "cosines of zeros": (regularizers.OrthogonalRegularizer(), jnp.zeros((3, 2))),
    "cosines of one row": (regularizers.OrthogonalRegularizer(), jnp.ones((1, 2))),
}


@pytest.mark.parametrize(("function", "x"), FINITE.values(), ids=FINITE)
def test_values_and_gradients_are_finite_at_the_edges(function, x):
    value, gradient = jax.value_and_grad(lambda x: function(x).sum().astype("float32"))(x)
    assert jnp.isfinite(value) and jnp.isfinite(gradient).all()


def test_norms_go_over_all_axes_together():
    x = np.arange(1.0, 5, dtype="float32").reshape(1, 2, 2)
    np.testing.assert_allclose(ops.normalize(x, axis=(1, 2), order=1), x / 10, rtol=1e-6)


@pytest.mark.parametrize("function", [ops.normalize, ops.layer_normalization, ops.rms_normalization], ids=lambda f: f.__name__)
def test_whole_numbers_are_normalized_as_floats(function):
    np.testing.assert_allclose(function(jnp.array([[3, 4]])), function(jnp.array([[3.0, 4.0]])))
