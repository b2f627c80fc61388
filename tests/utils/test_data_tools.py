"""to_categorical, normalize, split_dataset, the functions of ``backend`` and ``config``."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import pellucid
from pellucid.utils import PyDataset, normalize, split_dataset, to_categorical

LABELS = {
    "list": [0, 3, 1],
    "matrix": np.array([[0, 1], [2, 1]]),
    "column": np.array([[0], [2]]),
    "floats": np.array([0.0, 2.0]),
    "booleans": np.array([True, False]),
    "one number": 2,
    "int8": np.array([100, 3], "int8"),
}


@pytest.mark.parametrize("classes", [None, 101])
@pytest.mark.parametrize("name", LABELS)
def test_to_categorical_gives_what_keras_gives(name, classes):
    ours, theirs = (f(LABELS[name], classes) for f in (to_categorical, keras.utils.to_categorical))
    assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)


def test_to_categorical_of_an_array_of_jax_is_one():
    made = to_categorical(jnp.array([[1], [0]]), 3)
    assert isinstance(made, jax.Array) and made.tolist() == [[0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    "x, classes, words",
    [
        ([0, 5], 3, r"x holds 5; expected whole numbers from 0 to 2 \(num_classes=3\)"),
        ([-1, 0], None, "x holds -1; expected"),  # Keras wraps it around
        ([0.5], None, "expected whole numbers"),
        (["a"], None, "dtype <U1.*expected whole numbers"),
        ([], None, "x is empty.*num_classes=…"),
    ],
)
def test_to_categorical_names_what_is_no_class(x, classes, words):
    with pytest.raises(ValueError, match=words):
        to_categorical(x, classes)


@pytest.mark.parametrize("axis, order", [(-1, 2), (-1, 1), (1, 2), (-1, np.inf)])
def test_normalize_gives_what_keras_gives(axis, order):
    x = np.random.default_rng(0).normal(size=(3, 4))
    x[1] = 0
    np.testing.assert_allclose(normalize(x, axis, order), keras.utils.normalize(x, axis, order))


def test_normalize_along_the_first_axis_and_of_arrays_of_jax():
    x = np.array([[3.0, 0.0], [4.0, 0.0]])  # Keras takes axis 0 for the last
    assert normalize(x, 0).tolist() == [[0.6, 0.0], [0.8, 0.0]]
    made = normalize(jnp.asarray(x), 0)
    assert isinstance(made, jax.Array)
    np.testing.assert_allclose(made, [[0.6, 0.0], [0.8, 0.0]], rtol=1e-6)


# ---- split_dataset ----

ROWS = np.arange(10)


@pytest.mark.parametrize(
    "sizes, left, right",
    [
        ({"left_size": 0.8}, 8, 2),
        ({"right_size": 3}, 7, 3),
        ({"left_size": 4, "right_size": 0.5}, 4, 5),
        ({"left_size": 0.25}, 2, 8),
        ({"left_size": np.int64(9)}, 9, 1),
    ],
)
def test_arrays_are_parted_in_their_order(sizes, left, right):
    first, second = split_dataset({"x": ROWS, "y": [ROWS * 2, jnp.asarray(ROWS)]}, **sizes)
    assert first["x"].tolist() == list(range(left)) and second["x"].tolist() == list(range(left, left + right))
    assert first["y"][0].tolist() == (2 * ROWS[:left]).tolist() and isinstance(second["y"][1], jax.Array)
    assert split_dataset(ROWS.tolist(), **sizes)[0].tolist() == list(range(left))
    assert split_dataset(ROWS, **sizes)[1].shape == (right,)


def test_shuffled_parts_hold_each_row_once_and_a_seed_repeats_them():
    first, second = split_dataset((ROWS, ROWS + 100), 0.5, shuffle=True, seed=1)
    assert sorted([*first[0], *second[0]]) == ROWS.tolist() and first[0].tolist() != ROWS[:5].tolist()
    assert np.array_equal(first[0] + 100, first[1])
    again, _ = split_dataset((ROWS, ROWS + 100), 0.5, shuffle=True, seed=1)
    assert np.array_equal(first[0], again[0])
    drawn = []
    for _ in range(2):
        pellucid.utils.set_random_seed(0)
        drawn.append([split_dataset(ROWS, 0.5, shuffle=True)[0].tolist() for _ in range(2)])
    assert drawn[0] == drawn[1] and drawn[0][0] != drawn[0][1]


class Batches(PyDataset):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.ends = 0

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return np.full((4, 2), index, "float32"), np.zeros((4, 1), "float32")

    def on_epoch_end(self):
        self.ends += 1


def test_batches_of_a_dataset_are_parted():
    data = Batches(workers=2)
    left, right = split_dataset(data, right_size=0.4)
    assert [x[0, 0] for x, _ in left] == [0, 1, 2] and [x[0, 0] for x, _ in right] == [3, 4] and left.workers == 2
    model = pellucid.Sequential([pellucid.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(left, validation_data=right, verbose=0)
    assert int(model.optimizer.iterations) == 3 and "val_loss" in history.history and data.ends == 2


class Endless(Batches):
    @property
    def num_batches(self):
        return None


@pytest.mark.parametrize(
    "data, sizes, error, words",
    [
        (ROWS, {}, ValueError, "left_size=None and right_size=None; expected one"),
        (ROWS, {"left_size": 10}, ValueError, "left_size=10; expected a whole number from 1 to 9"),
        (ROWS, {"right_size": 1.5}, ValueError, r"right_size=1\.5; expected a share between 0 and 1"),
        (ROWS, {"left_size": 0.01}, ValueError, "make parts of 0 and 10; expected parts that are not empty"),
        (ROWS, {"left_size": 6, "right_size": 0.5}, ValueError, "make parts of 6 and 5; expected parts.*of 10 together"),
        (ROWS, {"left_size": "half"}, TypeError, "left_size='half'; expected a whole number, or a share"),
        (ROWS, {"left_size": True}, TypeError, "left_size=True; expected"),
        ((ROWS, ROWS[:4]), {"left_size": 2}, ValueError, r"the arrays have \[4, 10\] rows; expected"),
        (iter([ROWS]), {"left_size": 2}, TypeError, "dataset is a list_iterator; expected an array"),
        (Endless(), {"left_size": 2}, ValueError, "has no end"),
    ],
)
def test_what_cannot_be_parted_is_named(data, sizes, error, words):
    with pytest.raises(error, match=words):
        split_dataset(data, **sizes)


# ---- backend and config ----


def test_names_of_backend_and_config_are_those_of_keras():
    ours = {name for name in pellucid.backend.__all__}
    assert ours <= set(dir(keras.backend))
    for module in (pellucid.backend, pellucid.config):
        for name in ("epsilon", "set_epsilon", "floatx", "set_floatx", "image_data_format", "set_image_data_format", "backend"):
            assert hasattr(module, name) and hasattr(keras.config, name)
    assert pellucid.backend.backend() == pellucid.config.backend() == "jax"


@pytest.mark.parametrize("module", [pellucid.backend, pellucid.config])
@pytest.mark.parametrize("name, value", [("epsilon", 1e-3), ("floatx", "float16"), ("image_data_format", "channels_first")])
def test_settings_can_be_set_and_read_in_both_places(module, name, value):
    before = getattr(pellucid.config, name)()
    assert before == {"epsilon": 1e-7, "floatx": "float32", "image_data_format": "channels_last"}[name]
    try:
        getattr(module, f"set_{name}")(value)
        assert getattr(pellucid.config, name)() == getattr(pellucid.backend, name)() == value
    finally:
        getattr(pellucid.config, f"set_{name}")(before)


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("epsilon", "small", "value='small'; expected a small number above zero"),
        ("epsilon", 0, "value=0; expected"),
        ("epsilon", float("nan"), "value=nan; expected"),
        ("image_data_format", "NHWC", "data_format='NHWC'; expected 'channels_last' or 'channels_first'"),
        ("floatx", "float31", "value='float31'"),
    ],
)
def test_settings_refuse_what_they_do_not_know(name, value, words):
    before = getattr(pellucid.config, name)()
    with pytest.raises(ValueError, match=words):
        getattr(pellucid.config, f"set_{name}")(value)
    assert getattr(pellucid.config, name)() == before


@pytest.mark.parametrize("clear", ["backend", "utils"])
def test_clear_session_numbers_names_anew_and_harms_no_model(clear):
    model = pellucid.Sequential([pellucid.layers.Dense(1)])
    model.build((None, 2))
    weights = model.get_weights()
    getattr(pellucid, clear).clear_session()
    assert [pellucid.layers.Dense(1).name for _ in range(2)] == ["dense", "dense_1"]
    assert pellucid.backend.get_uid("a") == 1 and pellucid.backend.get_uid("a") == 2
    pellucid.backend.clear_session(free_memory=False)
    assert pellucid.backend.get_uid("a") == 1
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))


@pytest.mark.parametrize("dtype, floats, ints", [("float16", 1, 0), ("bfloat16", 1, 0), ("int8", 0, 1), ("uint32", 0, 1), ("bool", 0, 0)])
def test_kinds_of_data_types(dtype, floats, ints):
    for k in (pellucid, keras):
        assert (k.backend.is_float_dtype(dtype), k.backend.is_int_dtype(dtype)) == (floats, ints)
    assert pellucid.backend.standardize_dtype(np.dtype("int16")) == "int16"
