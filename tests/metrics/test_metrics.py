"""Metrics: results as in Keras over several batches; rows of weight 0 leave no trace; state in one variable; names."""

import inspect

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from hypothesis import given, settings

from pellucid import losses, metrics
from pellucid.core.variable import Variable
from pellucid.metrics.mean import MeanMetricWrapper
from pellucid.metrics.metric import metrics as registry
from tests.cases import some_slow

B, T, C = 6, 3, 4
rng = np.random.default_rng(1)
SCORES = np.asarray(jax.nn.softmax(rng.normal(size=(2, B, C)).astype("float32") * 2))
CLASSES = rng.integers(0, C, (2, B))
PREDICTED = rng.integers(0, C, (2, B))
ONE_HOT = np.eye(C, dtype="float32")[CLASSES]
BITS = rng.integers(0, 2, (2, B, C))
REAL = rng.normal(size=(2, B, C)).astype("float32")
TARGETS = REAL + rng.normal(size=REAL.shape).astype("float32")
PROBABILITIES = rng.uniform(size=(2, B, C)).astype("float32")
PROBABILITIES[0, 0] = [0, 1, 0.5, 0.25]
IDS = np.argsort(-SCORES, axis=-1)
WEIGHTS = rng.uniform(0, 2, (2, B)).astype("float32")

# name -> (batches of y_true, batches of y_pred, options)
CASES = {
    **{
        name: (TARGETS, REAL, {})
        for name in [
            "MeanSquaredError",
            "RootMeanSquaredError",
            "MeanAbsoluteError",
            "MeanAbsolutePercentageError",
            "LogCoshError",
            "R2Score",
        ]
    },
    "MeanSquaredLogarithmicError": (np.abs(TARGETS), REAL, {}),
    "CosineSimilarity": (TARGETS, REAL, {}),
    "CosineSimilarity axis": (TARGETS[..., None], REAL[..., None], {"axis": 1}),
    "R2Score variance": (TARGETS, REAL, {"class_aggregation": "variance_weighted_average"}),
    "R2Score each": (TARGETS, REAL, {"class_aggregation": None}),
    "R2Score adjusted": (TARGETS[..., :1], REAL[..., :1], {"num_regressors": 2}),
    "Accuracy": (CLASSES, CLASSES[:, ::-1].copy(), {}),
    "BinaryAccuracy": (BITS, PROBABILITIES, {"threshold": 0.4}),
    "CategoricalAccuracy": (ONE_HOT, SCORES, {}),
    "SparseCategoricalAccuracy": (CLASSES, SCORES, {}),
    "SparseCategoricalAccuracy column": (CLASSES[..., None], SCORES, {}),
    "TopKCategoricalAccuracy": (ONE_HOT, SCORES, {"k": 2}),
    "SparseTopKCategoricalAccuracy": (CLASSES, SCORES, {"k": 2}),
    "SparseTopKCategoricalAccuracy ids": (CLASSES, IDS, {"k": 2, "from_sorted_ids": True}),
    "BinaryCrossentropy": (BITS, PROBABILITIES, {"label_smoothing": 0.1}),
    "BinaryCrossentropy logits": (BITS, REAL, {"from_logits": True}),
    "CategoricalCrossentropy": (ONE_HOT, SCORES, {"label_smoothing": 0.1}),
    "SparseCategoricalCrossentropy": (CLASSES, REAL, {"from_logits": True}),
    "SparseCategoricalCrossentropy ignore": (CLASSES, REAL, {"from_logits": True, "ignore_class": 1}),
    "KLDivergence": (SCORES[:, ::-1].copy(), SCORES, {}),
    "Poisson": (np.abs(TARGETS), SCORES, {}),
    "Hinge": (BITS, REAL, {}),
    "SquaredHinge": (BITS * 2 - 1, REAL, {}),
    "CategoricalHinge": (ONE_HOT, REAL, {}),
    **{name: (BITS, PROBABILITIES, {}) for name in ["TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives"]},
    "FalseNegatives several": (BITS, PROBABILITIES, {"thresholds": [0.2, 0.9]}),
    "Precision": (BITS, PROBABILITIES, {}),
    "Precision several": (BITS, PROBABILITIES, {"thresholds": [0.0, 0.5, 1.0]}),
    "Precision best": (ONE_HOT, SCORES, {"top_k": 2}),
    "Precision class": (BITS, PROBABILITIES, {"class_id": 1}),
    "Recall": (BITS, PROBABILITIES, {"thresholds": 0.3}),
    "Recall best": (ONE_HOT, SCORES, {"top_k": 2, "class_id": 2}),
    "AUC": (BITS, PROBABILITIES, {}),
    "AUC logits": (BITS, REAL, {"from_logits": True, "num_thresholds": 30}),
    "AUC thresholds": (BITS, PROBABILITIES, {"thresholds": [0.7, 0.1, 0.4]}),
    "AUC minoring": (BITS, PROBABILITIES, {"summation_method": "minoring"}),
    "AUC majoring": (BITS, PROBABILITIES, {"summation_method": "majoring", "curve": "PR"}),
    "AUC precision": (BITS, PROBABILITIES, {"curve": "PR"}),
    "AUC labels": (BITS, PROBABILITIES, {"multi_label": True}),
    "AUC labels precision": (
        BITS,
        PROBABILITIES,
        {"multi_label": True, "curve": "PR", "label_weights": [1.0, 2.0, 0.0, 1.0], "num_labels": 4},
    ),
    "AUC weights": (BITS, PROBABILITIES, {"label_weights": [1.0, 2.0, 0.0, 1.0]}),
    "PearsonCorrelation": (TARGETS, REAL, {}),
    "ConcordanceCorrelation": (TARGETS[..., None], REAL[..., None], {"axis": 1}),
    "PrecisionAtRecall": (BITS, PROBABILITIES, {"recall": 0.6}),
    "RecallAtPrecision": (BITS, PROBABILITIES, {"precision": 0.6, "num_thresholds": 30, "class_id": 1}),
    "SensitivityAtSpecificity": (BITS, PROBABILITIES, {"specificity": 0.4, "num_thresholds": 1}),
    "SpecificityAtSensitivity": (BITS, PROBABILITIES, {"sensitivity": 0.8}),
    "IoU": (CLASSES, CLASSES[:, ::-1].copy(), {"num_classes": C, "target_class_ids": [0, 2], "dtype": "float32"}),
    "IoU ignored": (CLASSES, PREDICTED, {"num_classes": 3, "target_class_ids": [0, 2], "ignore_class": 1, "dtype": "float32"}),
    "BinaryIoU": (BITS[..., 0], PROBABILITIES[..., 0], {"threshold": 0.4, "dtype": "float32"}),
    "MeanIoU": (CLASSES, SCORES, {"num_classes": C, "sparse_y_pred": False, "dtype": "float32"}),
    "OneHotIoU": (ONE_HOT, SCORES, {"num_classes": C, "target_class_ids": [1, 3], "dtype": "float32"}),
    "OneHotMeanIoU": (ONE_HOT, CLASSES[:, ::-1].copy(), {"num_classes": C, "sparse_y_pred": True, "dtype": "float32"}),
    "F1Score": (ONE_HOT, SCORES, {}),
    "FBetaScore micro": (BITS, PROBABILITIES, {"average": "micro", "beta": 2.0, "threshold": 0.4}),
    "FBetaScore macro": (BITS, PROBABILITIES, {"average": "macro", "beta": 0.5, "threshold": 0.4}),
    "FBetaScore weighted": (ONE_HOT, SCORES, {"average": "weighted"}),
}


def make(case, library=metrics):
    return getattr(library, case.split()[0])(**CASES[case][2])


@pytest.mark.parametrize("case", some_slow(CASES, list(CASES)[::2]))
def test_results_over_two_batches_are_those_of_keras(case):
    y_true, y_pred, _ = CASES[case]
    ours, theirs = make(case), make(case, keras.metrics)
    for batch in range(2):
        for metric in (ours, theirs):
            metric.update_state(y_true[batch], y_pred[batch], sample_weight=WEIGHTS[batch])  # without weights: see the next test
    np.testing.assert_allclose(ours.result(), theirs.result(), rtol=2e-5, atol=1e-6)
    assert len(ours.variables) == 1
    ours.reset_state()
    np.testing.assert_array_equal(ours.result(), 0)


@pytest.mark.parametrize("case", some_slow(CASES, list(CASES)[::4]))
def test_rows_of_weight_zero_leave_no_trace(case):
    y_true, y_pred, _ = CASES[case]
    weight = np.array([1, 1, 0, 1, 1, 0], "float32")
    changed = [np.where(weight.reshape(B, *[1] * (a.ndim - 2)) > 0, a[0], a[1]) for a in (y_true, y_pred)]
    one, other, ones, none = (make(case) for _ in range(4))
    one.update_state(y_true[0], y_pred[0], sample_weight=weight)
    other.update_state(*changed, sample_weight=weight)
    np.testing.assert_array_equal(one.result(), other.result())
    ones.update_state(y_true[0], y_pred[0], sample_weight=np.ones(B, "float32"))
    none.update_state(y_true[0], y_pred[0])
    np.testing.assert_allclose(ones.result(), none.result(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("case", ["MeanSquaredError", "SparseCategoricalCrossentropy ignore", "R2Score adjusted", "AUC", "Precision"])
def test_rows_of_weight_zero_equal_rows_taken_away(case):
    y_true, y_pred, _ = CASES[case]
    alone, padded = make(case), make(case)
    alone.update_state(y_true[0], y_pred[0])
    padded.update_state(np.concatenate(y_true), np.concatenate(y_pred), sample_weight=np.repeat([1, 0], B))
    np.testing.assert_allclose(padded.result(), alone.result(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "case", ["MeanSquaredError", "AUC labels", "R2Score", "F1Score", "SparseCategoricalAccuracy", "MeanIoU", "PrecisionAtRecall"]
)
def test_updates_can_be_compiled_and_leave_the_metric_alone(case):
    y_true, y_pred, _ = CASES[case]
    eager, metric = make(case), make(case)
    metric.build(jax.ShapeDtypeStruct(y_true[0].shape, "float32"), jax.ShapeDtypeStruct(y_pred[0].shape, "float32"))
    step = jax.jit(metric.stateless_update_state)
    state = metric.stateless_reset_state()
    for batch in range(2):
        state = step(state, y_true[batch], y_pred[batch], sample_weight=WEIGHTS[batch])
        eager.update_state(y_true[batch], y_pred[batch], WEIGHTS[batch])
    np.testing.assert_allclose(metric.stateless_result(state), eager.result(), rtol=1e-5)
    np.testing.assert_array_equal(metric.result(), 0)
    with pytest.raises(ValueError, match="metric_variables has 0 values; expected 1"):
        metric.stateless_result([])


# ---- Mean and Sum ----

SHAPES = st.sampled_from(
    [((B,), (B,)), ((B,), (B, 1)), ((B, T), (B,)), ((B, T), (B, 1)), ((B, T), (B, T)), ((B, T, C), (B, T)), ((B, 1), (B,))]
)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(shapes=SHAPES, seed=st.integers(0, 3))
def test_mean_and_sum_are_those_of_keras(shapes, seed):
    generator = np.random.default_rng(seed)
    values, weights = (generator.uniform(size=shape).astype("float32") for shape in shapes)
    for name in ("Mean", "Sum"):
        for weight in (None, weights):
            ours, theirs = getattr(metrics, name)(), getattr(keras.metrics, name)()
            if name == "Sum" and weight is not None and values.ndim > weights.ndim:
                expected = (values * weights.reshape(*weights.shape, *[1] * (values.ndim - weights.ndim))).sum()
            else:
                expected = theirs(values, sample_weight=weight)
            np.testing.assert_allclose(ours(values, sample_weight=weight), expected, rtol=1e-5)


def test_mean_of_numbers():
    mean = metrics.Mean()
    assert float(mean.result()) == 0
    mean.update_state(2.0)
    mean.update_state(5.0, sample_weight=2)
    assert float(mean.result()) == 4.0 and float(mean.total) == 12.0 and float(mean.count) == 3.0
    mean.update_state([1.0, 3.0], sample_weight=3.0)
    assert float(mean.count) == 6.0 and float(mean.result()) == 3.0


def test_mean_counts_rows_of_a_symbolic_batch():
    (batch,) = jax.export.symbolic_shape("batch")
    mean = metrics.Mean()
    state = [jax.ShapeDtypeStruct((2,), "float32")]
    jax.eval_shape(mean.stateless_update_state, state, jax.ShapeDtypeStruct((batch, 3), "float32"))
    jax.eval_shape(mean.stateless_update_state, state, *[jax.ShapeDtypeStruct((batch,), "float32")] * 2)


def test_counts_stay_exact_where_the_default_type_is_short(monkeypatch):
    monkeypatch.setattr("pellucid.core.dtypes._floatx", "bfloat16")
    mean = metrics.BinaryAccuracy()
    assert mean.dtype == "float32"
    mean.update_state(np.ones(1001), jnp.ones(1001, "bfloat16"))
    assert float(mean.count) == 1001


def test_r2_of_large_numbers_and_of_constants():
    y_true = (1e4 + rng.normal(size=(500, 1))).astype("float32")
    y_pred = y_true + rng.normal(size=y_true.shape).astype("float32") / 2
    metric = metrics.R2Score()
    for part in range(5):
        metric.update_state(y_true[part::5], y_pred[part::5])
    expected = 1 - np.square(y_true - y_pred).sum(dtype="float64") / np.square(y_true - y_true.mean(dtype="float64")).sum(dtype="float64")
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-4)
    assert float(metrics.R2Score()(np.ones(4), np.ones(4))) == 1.0
    assert float(metrics.R2Score()(np.ones(4), np.zeros(4))) == 0.0
    few = [[1.0], [2.0], [3.0]], [[1.0], [2.0], [2.0]]
    assert float(metrics.R2Score(num_regressors=2)(*few)) == float(metrics.R2Score()(*few))  # too few rows to adjust


# ---- Own metrics ----


def test_a_function_becomes_a_mean_with_its_name():
    def distance(y_true, y_pred, power=1):
        return jnp.mean(jnp.abs(y_true - y_pred) ** power, axis=-1)

    metric = metrics.get(distance)
    assert type(metric) is MeanMetricWrapper and metric.name == "distance" and metric.fn is distance
    np.testing.assert_allclose(metric(TARGETS[0], REAL[0]), np.abs(TARGETS[0] - REAL[0]).mean(), rtol=1e-6)
    squared = metrics.MeanMetricWrapper(distance, power=2)
    assert squared.get_config()["fn"]["config"] == "distance" and squared.get_config()["power"] == 2
    np.testing.assert_allclose(squared(TARGETS[0], REAL[0]), np.square(TARGETS[0] - REAL[0]).mean(), rtol=1e-6)


def test_a_function_that_returns_one_number_has_no_weights():
    metric = metrics.get(lambda y_true, y_pred: jnp.mean(jnp.abs(y_true - y_pred)))
    np.testing.assert_allclose(metric(TARGETS[0], REAL[0]), np.abs(TARGETS[0] - REAL[0]).mean(), rtol=1e-6)
    with pytest.raises(ValueError, match="'<lambda>' got one number for the whole batch and sample_weight"):
        metric.update_state(TARGETS[0], REAL[0], sample_weight=WEIGHTS[0])


def test_losses_are_metrics():
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1, reduction="sum")
    metric = metrics.get(loss)
    assert metric.name == loss.name
    expected = metrics.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1)
    np.testing.assert_allclose(metric(CLASSES[0], REAL[0]), expected(CLASSES[0], REAL[0]), rtol=1e-6)
    kept = CLASSES[0] != 1
    np.testing.assert_allclose(expected.result(), loss(CLASSES[0], REAL[0]) / kept.sum(), rtol=1e-6)
    assert metrics.get("huber").name == "huber"
    np.testing.assert_allclose(metrics.get(losses.Huber)(TARGETS[0], REAL[0]), losses.Huber()(TARGETS[0], REAL[0]), rtol=1e-6)


def test_metrics_hold_metrics_and_variables():
    class Both(metrics.Metric):
        def __init__(self, name=None):
            super().__init__(name=name)
            self.parts = {"mean": metrics.Mean(), "others": [metrics.Sum()]}
            self.steps = self.add_weight(initializer="ones", name="steps", dtype="int32")
            self.own = Variable(1.0, trainable=False)

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.steps.assign_add(1)
            for part in (self.parts["mean"], *self.parts["others"]):
                part.update_state(y_pred, sample_weight)

        def result(self):
            return {"mean": self.parts["mean"].result(), "sum": self.parts["others"][0].result(), "steps": self.steps.value}

    metric = Both()
    assert metric.name == "both" or metric.name.startswith("both_")
    assert len(metric.variables) == 4 and metric.steps.path == f"{metric.name}/steps"
    assert metric.steps.transient and not metric.steps.trainable
    assert {k: float(v) for k, v in metric(None, [1.0, 3.0]).items()} == {"mean": 2.0, "sum": 4.0, "steps": 2.0}
    metric.reset_state()
    assert {k: float(v) for k, v in metric.result().items()} == {"mean": 0.0, "sum": 0.0, "steps": 0.0}


# ---- Names ----


def test_names_are_those_of_keras():
    assert [name for name in dir(keras.metrics) if not hasattr(metrics, name)] == []
    assert {name for name in keras.src.metrics.ALL_OBJECTS_DICT if name not in registry.entries and name[0].isupper()} == {"Metric"}
    for name in ("mse", "mean_squared_error", "MeanSquaredError"):
        metric = metrics.get(name)
        assert type(metric) is metrics.MeanSquaredError and metric.name == name
    assert metrics.get(metrics.MeanSquaredError).name == "mean_squared_error"
    assert metrics.get(metric) is metric and metrics.get(None) is None


NEEDED = {"num_classes": 3, "target_class_ids": [1], "recall": 0.5, "precision": 0.5, "sensitivity": 0.5, "specificity": 0.5}


@pytest.mark.parametrize("cls", sorted({e for e in registry.entries.values() if e is not MeanMetricWrapper}, key=str))
def test_default_name_and_config_round_trip(cls):
    needed = {name: value for name, value in NEEDED.items() if name in inspect.signature(cls).parameters}
    metric, theirs = cls(**needed), getattr(keras.metrics, cls.__name__)(**needed)
    assert metric.name.rstrip("_0123456789") == theirs.name.rstrip("_0123456789")
    config = {**metric.get_config(), "name": "mine"}
    again = metrics.deserialize({"class_name": cls.__name__, "config": config})
    assert type(again) is cls and again.get_config() == config
    written = {**keras.metrics.serialize(theirs), "config": config}
    assert metrics.serialize(again) == written
    assert set(theirs.get_config()) <= set(config)


@pytest.mark.parametrize(
    "true, predicted, kind",
    [((8,), (8, 1), "Binary"), ((8, 1), (8, 1), "Binary"), ((8,), (8,), "Binary"), ((8,), (8, 3), "SparseCategorical"),
     ((8, 1), (8, 3), "SparseCategorical"), ((8, 5), (8, 5, 3), "SparseCategorical"), ((8, 3), (8, 3), "Categorical")],
)  # fmt: skip
def test_accuracy_and_crossentropy_follow_the_shapes(true, predicted, kind):
    specs = jax.ShapeDtypeStruct(true, "int32"), jax.ShapeDtypeStruct(predicted, "float32")
    for name, suffix in (("accuracy", "Accuracy"), ("acc", "Accuracy"), ("crossentropy", "Crossentropy"), ("ce", "Crossentropy")):
        metric = metrics.resolve(name, *specs)
        assert type(metric).__name__ == kind + suffix and metric.name == name
    if len(predicted) > 1:
        theirs = keras.src.trainers.compile_utils.get_metric("accuracy", *specs)
        assert type(theirs).__name__ == kind + "Accuracy"
    assert metrics.resolve("mae", *specs).name == "mae"


def test_resolve_makes_the_state_that_depends_on_shapes():
    metric = metrics.resolve(metrics.AUC(multi_label=True), *[jax.ShapeDtypeStruct((8, 3), "float32")] * 2)
    assert [v.shape for v in metric.variables] == [(2, 200, 3)]


# ---- Errors ----


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: metrics.get("mean_sqared_error"), "There is no metric 'mean_sqared_error'. Did you mean 'mean_squared_error'"),
        (lambda: metrics.resolve("accuracy", np.zeros((4, 3)), np.zeros((4, 5)), "mse"), r"'accuracy' \(with loss 'mse'\).*\(4, 3\)"),
        (lambda: metrics.BinaryAccuracy()(np.zeros((4, 1)), np.zeros((4, 2))), r"\(4, 1\).*\(4, 2\); expected y_true of shape \(4, 2\)"),
        (lambda: metrics.SparseCategoricalAccuracy()(np.zeros((4, 2)), np.zeros((4, 2))), "For one-hot targets use the categorical form"),
        (lambda: metrics.CategoricalAccuracy()(np.zeros(4), np.zeros((4, 2))), "For class numbers use the sparse form"),
        (lambda: metrics.Mean()(np.zeros(4), np.zeros(3)), r"'mean': sample_weight has shape \(3,\).*\(4,\)"),
        (lambda: metrics.Precision(thresholds=[0.5, 2.0]), r"Precision: thresholds=\[0.5, 2.0\] are not all from 0 to 1"),
        (lambda: metrics.Precision(class_id=1)(np.zeros(4), np.zeros(4)), "class_id=1 needs a class axis"),
        (lambda: metrics.IoU(2, [2]), r"IoU: target_class_ids=\[2\] are not all from 0 to 1"),
        (lambda: metrics.MeanIoU(2)(np.zeros(4), np.zeros(3)), r"y_true has class numbers of shape \(4,\), y_pred of shape \(3,\)"),
        (lambda: metrics.RecallAtPrecision(1.5), "RecallAtPrecision: precision=1.5 is not from 0 to 1"),
        (lambda: metrics.PrecisionAtRecall(0.5, 0), "num_thresholds=0; expected 1 or more"),
        (lambda: metrics.AUC(curve="RCO"), "AUC: curve='RCO' is not known. Did you mean 'ROC'"),
        (lambda: metrics.AUC(num_thresholds=1), "num_thresholds=1; expected 2 or more"),
        (lambda: metrics.AUC(num_labels=3), "num_labels is for multi_label=True"),
        (lambda: metrics.AUC(multi_label=True)(np.zeros(4), np.zeros(4)), r"shape \(4,\); expected \(batch, labels\)"),
        (lambda: metrics.R2Score("mean"), "R2Score: class_aggregation='mean' is not known"),
        (lambda: metrics.R2Score(num_regressors=-1), "num_regressors=-1 is negative"),
        (lambda: metrics.R2Score()(np.zeros((4, 2, 2)), np.zeros((4, 2, 2))), r"R2Score: y_pred has shape \(4, 2, 2\)"),
        (lambda: metrics.F1Score(average="mean"), "F1Score: average='mean' is not known"),
        (lambda: metrics.FBetaScore(beta=0.0), "beta=0.0 is not positive"),
        (lambda: metrics.F1Score(threshold=0.0), "threshold=0.0 is not above 0"),
        (lambda: metrics.F1Score()(np.zeros(4), np.zeros(4)), r"f1_score: y_pred has shape \(4,\); expected \(batch, classes\)"),
    ],
)
def test_errors_name_the_value_and_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
