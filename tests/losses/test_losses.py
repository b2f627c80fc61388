"""Losses: values, gradients and reductions as in Keras; rows of padding leave no trace; shapes that do not fit are errors."""

import inspect

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from jax import export

from pellucid import losses
from pellucid.errors import DataWarning
from pellucid.graph import rows
from pellucid.losses.loss import NamedLoss, registry
from tests.cases import some_slow

B, T, C = 6, 3, 4
rng = np.random.default_rng(0)
REAL = rng.normal(size=(B, T, C)).astype("float32")
PROBABILITIES = np.asarray(jax.nn.softmax(rng.normal(size=(B, T, C)).astype("float32") * 2))
CLASSES = rng.integers(0, C, (B, T))
ONE_HOT = np.eye(C, dtype="float32")[CLASSES]
BITS = rng.integers(0, 2, (B, T, C))
SIGMOID = rng.uniform(0, 1, (B, T, C)).astype("float32")
SIGMOID[0, 0] = [0, 1, 0.5, 1]
LOGITS = (rng.normal(size=(B, T, C)) * 12).astype("float32")
LOGITS[0, 0] = [0, 0, 30, -30]
EQUAL = REAL.copy()
EQUAL[0] = 0.25  # y_pred == y_true here: the kink of absolute errors
LABELS = np.array([[1, 2], [3, 0], [1, 1], [2, 3], [0, 0], [3, 1]])  # of sequences, followed by zeros
UNIT = REAL[:, 0] / np.linalg.norm(REAL[:, 0], axis=-1, keepdims=True)
TARGETS = REAL + rng.normal(size=REAL.shape).astype("float32") * 2
TARGETS[0] = 0.25

# name -> (y_true, y_pred, options of the function and the class)
CASES = {
    "mean_squared_error": (TARGETS, EQUAL, {}),
    "mean_absolute_error": (TARGETS, EQUAL, {}),
    "mean_absolute_percentage_error": (TARGETS, EQUAL, {}),
    "mean_squared_logarithmic_error": (np.abs(TARGETS), EQUAL, {}),
    "huber": (TARGETS, EQUAL, {"delta": 0.7}),
    "log_cosh": (TARGETS, EQUAL, {}),
    "cosine_similarity": (TARGETS, REAL, {}),
    "cosine_similarity time": (TARGETS, REAL, {"axis": 1}),
    "poisson": (np.abs(TARGETS), PROBABILITIES, {}),
    "kl_divergence": (PROBABILITIES[::-1].copy(), PROBABILITIES, {}),
    "hinge": (BITS * 2 - 1, LOGITS, {}),
    "hinge bits": (BITS, LOGITS, {}),
    "squared_hinge": (BITS, LOGITS, {}),
    "categorical_hinge": (ONE_HOT, LOGITS, {}),
    "binary_crossentropy": (BITS, SIGMOID, {}),
    "binary_crossentropy logits": (BITS, LOGITS, {"from_logits": True, "label_smoothing": 0.1}),
    "binary_focal_crossentropy": (BITS, SIGMOID, {"apply_class_balancing": True}),
    "binary_focal_crossentropy logits": (BITS, LOGITS, {"from_logits": True, "gamma": 1.5, "label_smoothing": 0.1}),
    "categorical_crossentropy": (ONE_HOT, PROBABILITIES * 3, {"label_smoothing": 0.1}),
    "categorical_crossentropy logits": (ONE_HOT, LOGITS, {"from_logits": True}),
    "categorical_focal_crossentropy": (ONE_HOT, PROBABILITIES, {}),
    "categorical_focal_crossentropy logits": (ONE_HOT, LOGITS, {"from_logits": True, "gamma": 1.5, "alpha": 0.5}),
    "sparse_categorical_crossentropy": (CLASSES, PROBABILITIES, {}),
    "sparse_categorical_crossentropy logits": (CLASSES[..., None], LOGITS, {"from_logits": True}),
    "sparse_categorical_crossentropy ignore": (CLASSES, LOGITS, {"from_logits": True, "ignore_class": 1}),
    "categorical_generalized_cross_entropy": (CLASSES, PROBABILITIES, {"q": 0.7}),
    "ctc": (LABELS, LOGITS / 4, {}),
    "circle": (np.array([0, 1, 0, 2, 1, 0]), UNIT, {"gamma": 4.0, "margin": 0.3}),
    "dice": (ONE_HOT, PROBABILITIES, {"axis": (1, 2)}),
    "tversky": (ONE_HOT, PROBABILITIES, {"axis": (1, 2), "alpha": 0.3, "beta": 0.6}),
}
WEIGHTS = {
    "none": None,
    "rows": rng.uniform(0, 2, B).astype("float32"),
    "column": rng.uniform(0, 2, (B, 1)).astype("float32"),
    "steps": rng.uniform(0, 2, (B, T)).astype("float32"),
}


def pair(case, **arguments):
    """Our class and Keras's with the same options."""
    name = case.split()[0]
    cls = registry.entries[name]
    options = {**CASES[case][2], **arguments}
    return cls(**options), getattr(keras.losses, cls.__name__)(**options)


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_keras(case):
    y_true, y_pred, options = CASES[case]
    name = case.split()[0]

    # Keras's losses of whole numbers expect a cast
    y = jnp.asarray(y_true) if name.startswith(("sparse", "ctc", "circle")) else jnp.asarray(y_true, "float32")

    def both(function, p):
        values, back = jax.vjp(lambda p: function(y, p, **options), p)
        return values, back(jnp.ones_like(values))[0]

    functions = getattr(losses, name), getattr(keras.losses, name)
    ours, theirs = jax.jit(lambda p: [both(function, p) for function in functions])(y_pred)
    assert ours[0].shape == theirs[0].shape
    np.testing.assert_allclose(ours[0], theirs[0], rtol=2e-6, atol=1e-6)
    if case == "binary_focal_crossentropy":  # the derivative of clip at its ends is a matter of taste
        ours, theirs = (np.delete(np.asarray(side[1]), 0, 0) for side in (ours, theirs))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_allclose(ours[1], theirs[1], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("case", some_slow(CASES, list(CASES)[::3]))
def test_weighted_reductions_are_those_of_keras(case):
    y_true, y_pred, _ = CASES[case]
    kinds = {
        "dice": ["none", "rows", "column"],
        "ctc": ["none", "rows"],
        "circle": ["none", "rows"],
        "tversky": ["none", "rows"],
        "cosine_similarity time": ["none", "column"],
    }
    combinations = [(WEIGHTS[kind], kind, reduction) for kind in kinds.get(case, WEIGHTS) for reduction in ("sum_over_batch_size", "sum")]

    def both(y_pred):  # in one program: each operation alone would be compiled, too
        for weight, kind, reduction in combinations:
            ours, theirs = pair(case, reduction=reduction)
            as_keras = weight[:, None] if kind == "rows" and case not in kinds else weight  # it broadcasts (batch,) from the right
            yield ours(y_true, y_pred, sample_weight=weight), theirs(y_true, y_pred, sample_weight=as_keras)

    for (got, expected), (_, *told) in zip(jax.jit(lambda p: list(both(p)))(y_pred), combinations, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6, err_msg=str(told))


@pytest.mark.parametrize("reduction", ["mean", "mean_with_sample_weight", "none", None])
@pytest.mark.parametrize("weights", ["none", "steps"])
def test_other_reductions_are_those_of_keras(reduction, weights):
    for case in ("mean_absolute_error", "sparse_categorical_crossentropy ignore"):
        ours, theirs = pair(case, reduction=reduction)
        for side in (ours, theirs):
            assert side.reduction == reduction
        y_true, y_pred, _ = CASES[case]
        got, expected = (side(y_true, y_pred, sample_weight=WEIGHTS[weights]) for side in (ours, theirs))
        if case.endswith("ignore") and reduction in (None, "none"):
            got, expected = got != 0, np.asarray(expected) != 0
        np.testing.assert_allclose(got, expected, rtol=1e-5)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    case=st.sampled_from(["mean_absolute_error", "sparse_categorical_crossentropy ignore", "binary_crossentropy logits"]),
    real=st.one_of(st.permutations([True] * 4 + [False] * 2), st.just([False] * B)),  # few shapes, so few compilations
    weights=st.sampled_from(["none", "rows", "column"]),
    reduction=st.sampled_from(["sum_over_batch_size", "sum", "mean_with_sample_weight"]),
)
def test_rows_of_padding_equal_rows_taken_away(case, real, weights, reduction):
    y_true, y_pred, options = CASES[case]
    loss = registry.entries[case.split()[0]](**options, reduction=reduction)
    real, weight = np.array(real), WEIGHTS[weights]

    value = loss(y_true, y_pred, sample_weight=weight, rows=real)
    if not real.any():
        assert value == 0
        return
    expected = loss(y_true[real], y_pred[real], sample_weight=None if weight is None else weight[real])
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_rows_of_padding_have_no_gradient():
    y_true, y_pred, options = CASES["binary_crossentropy logits"]
    loss, real = losses.BinaryCrossentropy(**options), np.array([1, 0, 1, 1, 0, 1])
    slope = jax.jit(jax.grad(lambda p: loss(y_true, p, rows=real)))(y_pred)
    expected = jax.jit(jax.grad(lambda p: loss(y_true[real == 1], p)))(y_pred[real == 1])
    np.testing.assert_allclose(slope[real == 1], expected, rtol=1e-5, atol=1e-7)
    assert not slope[real == 0].any()


def test_one_axis_is_a_batch_of_single_values():
    y_true, y_pred, weight = TARGETS[:, 0, 0], REAL[:, 0, 0], WEIGHTS["rows"]
    loss = losses.MeanSquaredError()
    expected = np.square(y_true - y_pred)
    np.testing.assert_allclose(loss(y_true, y_pred, sample_weight=weight), np.mean(expected * weight), rtol=1e-6)
    np.testing.assert_allclose(loss(y_true, y_pred[:, None]), np.mean(expected), rtol=1e-6)
    np.testing.assert_allclose(loss(y_true[:, None], y_pred), np.mean(expected), rtol=1e-6)
    np.testing.assert_allclose(losses.MeanSquaredError(reduction=None)(y_true, y_pred), expected, rtol=1e-6)


def test_masked_scores_of_minus_infinity_are_taken():
    scores = jnp.array([[1.0, -jnp.inf, 2.0]])
    value, slope = jax.value_and_grad(lambda s: losses.sparse_categorical_crossentropy([2], s, from_logits=True)[0])(scores)
    np.testing.assert_allclose(value, np.log1p(np.exp(-1.0)), rtol=1e-6)
    assert np.isfinite(slope).all() and slope[0, 1] == 0


@pytest.mark.parametrize("from_logits", [True, False])
def test_labels_outside_the_classes_give_zero(from_logits):
    arguments = np.array([-1, 0, C]), PROBABILITIES[:3, 0]
    got = losses.sparse_categorical_crossentropy(*arguments, from_logits=from_logits)
    np.testing.assert_allclose(got, keras.losses.sparse_categorical_crossentropy(*arguments, from_logits=from_logits), rtol=1e-6)
    assert got[0] == got[2] == 0


def test_a_row_that_is_compared_with_nothing_counts_for_nothing():
    labels, loss = np.array([0, 0, 1]), losses.Circle(gamma=4.0)
    np.testing.assert_allclose(loss(labels, UNIT[:3]), losses.circle(labels, UNIT[:3], gamma=4.0)[:2].mean(), rtol=1e-6)
    np.testing.assert_allclose(loss(labels, UNIT[:3]), keras.losses.Circle(gamma=4.0)(labels, UNIT[:3]), rtol=1e-5)
    assert np.isfinite(jax.jit(jax.grad(lambda x: loss(labels, x)))(UNIT[:3])).all()
    others = losses.circle(labels, UNIT[:3], ref_labels=[0, 1], ref_embeddings=UNIT[3:5], remove_diagonal=False)
    theirs = keras.losses.circle(labels, UNIT[:3], np.array([0, 1]), UNIT[3:5], remove_diagonal=False)
    np.testing.assert_allclose(others, theirs, rtol=1e-4)


def test_half_precision_is_computed_in_32_bits():
    y_true, y_pred, _ = CASES["binary_crossentropy"]
    half = jnp.asarray(y_pred, "bfloat16")
    got = losses.binary_crossentropy(y_true, half)
    assert got.dtype == "float32"
    np.testing.assert_allclose(got, losses.binary_crossentropy(y_true, half.astype("float32")), rtol=1e-6)


@pytest.mark.parametrize("case", [case for case in CASES if case != "circle"])
def test_functions_keep_the_rows_apart_at_any_batch_size(case):
    y_true, y_pred, options = CASES[case]
    loss = registry.entries[case.split()[0]](**options)
    (batch,) = export.symbolic_shape("batch")
    specs = [jax.ShapeDtypeStruct((batch, *a.shape[1:]), jnp.asarray(a).dtype) for a in (y_true, y_pred)]
    jaxpr = jax.make_jaxpr(loss.call)(*specs)
    assert jaxpr.out_avals[0].shape[0] == batch
    assert "dim_as_value" not in str(jaxpr)
    assert rows.coupling(jaxpr, True) is None
    assert jax.eval_shape(lambda y, p, r: loss(y, p, rows=r), *specs, jax.ShapeDtypeStruct((batch,), jnp.float32)).shape == ()


# ---- Classes, names, own losses ----


def test_names_and_aliases_are_those_of_keras():
    assert set(keras.src.losses.ALL_OBJECTS_DICT) - set(registry.entries) == {"Loss", "LossFunctionWrapper"}
    assert [name for name in dir(keras.losses) if not hasattr(losses, name)] == []
    assert losses.mse is losses.MSE is losses.mean_squared_error
    for name in ("mse", "MSE", "mean_squared_error", "MeanSquaredError", losses.MeanSquaredError, losses.mean_squared_error):
        assert type(losses.get(name)) is losses.MeanSquaredError
    loss = losses.Huber(2.0)
    assert losses.get(loss) is loss
    assert losses.get(None) is None


@pytest.mark.parametrize("cls", [e for e in dict.fromkeys(registry.entries.values()) if isinstance(e, type) and issubclass(e, NamedLoss)])
def test_signature_config_and_name_are_those_of_keras(cls):
    theirs = getattr(keras.losses, cls.__name__)
    assert list(inspect.signature(cls).parameters) == list(inspect.signature(theirs).parameters)
    loss = cls()
    config = {"axis": -1, **theirs().get_config(), "dtype": "float32"}
    assert config | loss.get_config() == config or "axis" not in loss.get_config()
    assert loss.name == theirs().name
    changed = cls(**{**loss.get_config(), "name": "mine", "reduction": "sum"})
    assert repr(losses.deserialize(losses.serialize(changed))) == repr(changed)


def test_a_function_becomes_a_loss_with_its_name():
    def fourth(y_true, y_pred, scale=1.0):
        return scale * jnp.mean((y_true - y_pred) ** 4, axis=-1)

    loss = losses.get(fourth)
    assert loss.name == "fourth" and loss.function is fourth
    y_true, y_pred = rng.integers(0, 255, (B, 1)).astype("uint8"), REAL[:, 0, :1]
    theirs = keras.src.losses.losses.LossFunctionWrapper(fourth)
    np.testing.assert_allclose(loss(y_true, y_pred), theirs(y_true, y_pred), rtol=1e-6)
    np.testing.assert_allclose(loss(y_true[:, 0], y_pred), theirs(y_true[:, 0], y_pred), rtol=1e-6)
    assert float(losses.FunctionLoss(fourth, scale=2.0)(y_true, y_pred)) == pytest.approx(2 * float(loss(y_true, y_pred)))


def test_a_subclass_gets_floats_and_may_take_structures():
    class Pair(losses.Loss):
        def call(self, y_true, y_pred):
            assert y_true["a"].dtype == y_pred["b"].dtype == "float32"
            return jnp.abs(y_true["a"] - y_pred["b"])[:, 0]

    loss = Pair()
    assert loss.name.startswith("pair")
    assert float(loss({"a": np.array([[1], [2]], "uint8")}, {"b": [[2.0], [4.0]]})) == 1.5
    assert Pair.from_config({"name": "mine", "reduction": "sum"}).get_config()["name"] == "mine"


def test_crossentropy_decides_by_the_shapes():
    loss = losses.get("ce")
    for name, (y_true, y_pred) in {
        "sparse_categorical_crossentropy": (CLASSES[:, 0], PROBABILITIES[:, 0]),
        "categorical_crossentropy": (ONE_HOT[:, 0], PROBABILITIES[:, 0]),
        "binary_crossentropy": (BITS[:, 0, 0], SIGMOID[:, 0, :1]),
    }.items():
        np.testing.assert_allclose(loss(y_true, y_pred), losses.get(name)(y_true, y_pred), rtol=1e-6)


def test_a_loss_that_returns_one_number():
    loss = losses.get(lambda y_true, y_pred: jnp.mean(jnp.abs(y_true - y_pred)))
    plain = np.abs(TARGETS - REAL).mean()
    np.testing.assert_allclose(loss(TARGETS, REAL), plain, rtol=1e-5)
    np.testing.assert_allclose(loss(TARGETS, REAL, sample_weight=WEIGHTS["rows"]), plain * WEIGHTS["rows"].mean(), rtol=1e-5)
    with pytest.raises(ValueError, match="one number for the whole batch, so that rows of padding cannot be left out"):
        loss(TARGETS, REAL, rows=np.ones(B))


# ---- Errors ----


OF_LABELS = {"sparse_categorical_crossentropy", "categorical_generalized_cross_entropy", "ctc", "circle"}


@pytest.mark.parametrize("name", sorted({case.split()[0] for case in CASES} - OF_LABELS))
def test_shapes_that_only_broadcast_are_errors(name):
    with pytest.raises(ValueError, match=rf"{name}: y_true has shape \(96, 1\) and y_pred has shape \(96, 2\); expected equal shapes"):
        losses.get(name)(np.zeros((96, 1), "float32"), np.zeros((96, 2), "float32"))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: losses.get("mean_sqared_error"), "There is no loss 'mean_sqared_error'. Did you mean 'mean_squared_error'"),
        (lambda: losses.CategoricalGeneralizedCrossEntropy(q=1.0), "q=1.0; expected a number between 0 and 1"),
        (lambda: losses.ctc([1], PROBABILITIES), r"ctc: y_true has shape \(1,\)"),
        (lambda: losses.Huber(reduction="average"), "Huber: reduction='average' is not known"),
        (lambda: losses.categorical_crossentropy([1, 2], PROBABILITIES[:2, 0]), r"\(2,\).*\(2, 4\).*use sparse_categorical_crossentropy"),
        (lambda: losses.sparse_categorical_crossentropy(ONE_HOT, PROBABILITIES), "look one-hot: use categorical_crossentropy"),
        (lambda: losses.sparse_categorical_crossentropy([1, 2, 3], PROBABILITIES[:2, 0]), r"\(3,\).*expected labels of shape \(2,\)"),
        (lambda: losses.get("mse")(TARGETS, REAL, sample_weight=np.ones(5)), r"mean_squared_error: sample_weight has shape \(5,\)"),
        (lambda: losses.get("mse")(TARGETS, REAL, sample_weight=np.ones((B, 2))), r"shape \(6, 2\).*values, of shape \(6, 3\)"),
        (lambda: losses.get("mse")(TARGETS, REAL, rows=np.ones(5)), r"rows has shape \(5,\)"),
        (lambda: losses.get("ce")(np.zeros((4, 3)), np.zeros((4, 5))), "fit neither binary labels nor class numbers nor one-hot"),
    ],
)
def test_errors_name_shapes_and_cure(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_one_class_is_pointed_out():
    with pytest.warns(DataWarning, match="one class, so that the loss is always 0"):
        losses.categorical_crossentropy(np.ones((2, 1)), np.ones((2, 1), "float32"))
