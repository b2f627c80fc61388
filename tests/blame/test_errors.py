"""Errors in call: layer, line, shapes and advice; the traceback holds the user's frames only."""

import traceback

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import layers, ops
from pellucid.core import jax_compat
from pellucid.core.explain import filtered
from tests.blame.helpers import data, line_of


class Block(layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.wide = layers.Dense(4)

    def build(self, input_shape):
        self.w = self.add_weight((5, 2))

    def call(self, x):
        return self.function(self, x)


class Net(pellucid.Model):
    def __init__(self, function):
        super().__init__()
        self.block = Block(function)

    def call(self, x):
        return self.block(x)


@pytest.fixture
def traceback_filtering():
    yield
    pellucid.config.enable_traceback_filtering()


def run(name, model):
    x, y = data(8)
    if name == "capture":
        model.capture((None, 3))
    elif name == "build":
        model.build((None, 3))
    elif name == "eager":
        model(x)
    elif name == "fit":
        model.compile("sgd", "mse")
        model.fit(x, y, verbose=0)
    elif name == "train_on_batch":
        model.compile("sgd", "mse")
        model.train_on_batch(x, y)
    elif name == "evaluate":
        model.compile("sgd", "mse")
        model.evaluate(x, y, verbose=0)
    else:
        model.predict(x, verbose=0)


EVERYWHERE = ["capture", "build", "eager", "fit", "train_on_batch", "evaluate", "predict"]


def error_of(function, where="capture"):
    with pytest.raises(Exception) as raised:  # noqa: PT011 - each test says which
        run(where, Net(function))
    return raised.value


def notes_of(error):
    return "\n".join(error.__notes__)


def multiply(self, x):
    return x @ self.w


def subscripts(self, x):
    return jnp.einsum("bti,ij->bj", x, self.w)


def labels(self, x):
    return jnp.einsum("bi,ij->bj", x, self.w)


def join_rows(self, x):
    return jnp.concatenate([x, self.wide(x)], axis=0)


def join_ranks(self, x):
    return jnp.concatenate([x, self.wide(x)[:, None]], axis=1)


def stack(self, x):
    return jnp.stack([x, self.wide(x)])


def add(self, x):
    return x + self.wide(x)


def choose(self, x):
    return jnp.where(x > 0, x, self.wide(x))


def reshape(self, x):
    return x.reshape((-1, 7))


def no_such_axis(self, x):
    return x.sum(axis=2)


def index_too_far(self, x):
    return x[:, 0, 0]


def squeeze(self, x):
    return jnp.squeeze(x, 1)


def split(self, x):
    return jnp.split(x, 2, axis=1)[0]


def exp_of_whole_numbers(self, x):
    return jax.lax.exp(x.astype("int32"))


@pytest.mark.parametrize(
    "function, text, shapes, advice",
    [
        (multiply, "x @ self.w", "3), inputs", "sums over"),
        (labels, "jnp.einsum", "3)", "sums over"),
        (subscripts, "jnp.einsum", "3)", "as many letters"),
        (join_rows, "jnp.concatenate", "3)", "axis=-1"),
        (join_ranks, "jnp.concatenate", "3)", "as many axes"),
        (stack, "jnp.stack", "3)", "the same shape"),
        (add, "x + self.wide(x)", "3)", "x[:, None]"),
        (choose, "jnp.where", "3)", "x[:, None]"),
        (reshape, "x.reshape", "3)", "give the batch as -1"),
        (no_such_axis, "x.sum", "3)", "axis=-1 is the last one"),
        (index_too_far, "x[:, 0, 0]", "3)", "more indices than axes"),
        (squeeze, "jnp.squeeze", "3)", "x[:, 0]"),
        (split, "jnp.split", "3)", "a multiple"),
        (exp_of_whole_numbers, "jax.lax.exp", "3)", "ops.cast"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_shape_and_type_errors_come_with_layer_line_shapes_and_advice(function, text, shapes, advice):
    notes = notes_of(error_of(function))
    assert "in layer 'block' (Block.call" in notes
    assert "inputs: (" in notes
    assert "3)" in notes.split("inputs: ")[1].split("\n")[0]
    assert f"test_errors.py:{line_of(function, text)}: return {text}" in notes
    assert advice in notes


def test_a_library_layer_is_told_with_the_line_that_called_it():
    def call_add(self, x):
        return layers.Add()([x, self.wide(x)])

    notes = notes_of(error_of(call_add))
    assert "(Add.call), inputs: [(" in notes
    assert f"test_errors.py:{line_of(call_add, 'layers.Add')}: return layers.Add()" in notes


def test_classes_given_to_a_dense_layer():
    def classes(self, x):
        return self.wide(jnp.argmax(x, -1))

    error = error_of(classes)
    assert isinstance(error, pellucid.ShapeError)
    assert "expected a known size of axis -1" in str(error)
    assert "ops.one_hot" in notes_of(error)
    assert "in layer 'block/wide' (Dense.build)" in notes_of(error)


# ---- Values that do not exist while `call` is captured ----


def if_tensor(self, x):
    if x.sum() > 0:
        return x
    return -x


def if_elements(self, x):
    if x > 0:
        return x
    return -x


def while_tensor(self, x):
    while x.sum() < 9:
        x = x * 2
    return x


def assert_tensor(self, x):
    assert x.sum() > 0
    return x


def both(self, x):
    return x if x.sum() > 0 and x.max() < 1 else -x


def for_in_range(self, x):
    return sum(x * i for i in range(x[0, 0].astype("int32")))


def list_index(self, x):
    return x * [1, 2, 3][x[0, 0].astype("int32")]


def whole_number(self, x):
    return x * int(x.sum())


def item(self, x):
    return x * x.sum().item()


def numpy_array(self, x):
    return x * np.asarray(x)


def numpy_function(self, x):
    return np.exp(x)


def boolean_mask(self, x):
    return x[x > 0]


def unique(self, x):
    return jnp.unique(x)


def sizes(self, x):
    return jnp.arange(x.sum())


@pytest.mark.parametrize(
    "function, text, advice",
    [
        (if_tensor, "if x.sum() > 0:", "ops.where(condition, a, b), between computations with ops.cond("),
        (if_elements, "if x > 0:", "ops.where("),
        (while_tensor, "while x.sum() < 9:", "ops.while_loop("),
        (assert_tensor, "assert x.sum() > 0", "pellucid.print"),
        (both, "return x if", "&, |, ~"),
        (for_in_range, "return sum(", "ops.scan("),
        (list_index, "return x * [", "ops.take"),
        (whole_number, "return x * int(", "ops.cast"),
        (item, "return x * x.sum().item()", "Keep the tensor"),
        (numpy_array, "return x * np.asarray(x)", "pellucid.ops or jax.numpy"),
        (numpy_function, "return np.exp(x)", "pellucid.ops or jax.numpy"),
        (boolean_mask, "return x[x > 0]", "ops.where(mask, x, 0)"),
        (unique, "return jnp.unique", "size="),
        (sizes, "return jnp.arange", "x.shape"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_tensor_used_as_a_python_value(function, text, advice):
    error = error_of(function)
    assert f"test_errors.py:{line_of(function, text)}: {text}" in notes_of(error)
    assert advice in notes_of(error)
    assert "/pellucid/" not in str(error)  # as in "while tracing the function run at …"
    assert "static_argnums" not in str(error)


def in_a_format(self, x):
    print(f"mean {ops.mean(x):.3f}")
    return self.wide(x)


def in_the_format_method(self, x):
    print("mean {:.3f}".format(ops.mean(x)))  # noqa: UP032
    return self.wide(x)


def as_a_percent_format(self, x):
    print("mean %.3f" % ops.mean(x))  # noqa: UP031
    return self.wide(x)


def as_a_number(self, x):
    print(float(ops.mean(x)))
    return self.wide(x)


@pytest.mark.parametrize("function", [in_a_format, in_the_format_method, as_a_percent_format, as_a_number])
def test_a_printed_number_is_no_question_about_sizes_and_leads_to_pellucids_print(function):
    model = Net(function)
    model.compile("sgd", "mse")
    with pytest.raises(TypeError) as caught:
        model.fit(np.ones((4, 3), "float32"), np.ones((4, 4), "float32"), verbose=0)
    assert f"test_errors.py:{line_of(function, 'print')}: print(" in notes_of(caught.value)
    assert "pellucid.print(" in notes_of(caught.value)
    assert len(model.ledger) == 1  # once: no second try


def test_a_size_in_a_format_is_captured_at_the_present_size():
    model = Net(lambda self, x: self.wide(x) + len(f"{x.shape[0]:5d}"))
    np.testing.assert_allclose(model.predict(np.zeros((4, 3), "float32"), verbose=0), np.full((4, 4), 5.0))


def for_in_tensor(self, x):
    return sum(row for row in x)[None] + self.w.sum()


def unpacked(self, x):
    first, second = x
    return first + second


@pytest.mark.parametrize("function, text", [(for_in_tensor, "return sum(row for row in x)"), (unpacked, "first, second = x")])
def test_python_does_not_go_over_the_rows_of_a_batch(function, text):
    model = Net(function)
    model.compile("sgd", "mse")
    x = np.ones((4, 3), "float32")
    with pytest.raises(pellucid.CaptureError, match=r"any number of rows") as caught:
        model.fit(x, x, verbose=0)
    assert f"test_errors.py:{line_of(function, text)}: {text}" in notes_of(caught.value)
    assert "ops.scan(" in str(caught.value)
    assert len(model.ledger) == 1  # once: no second try


def test_python_goes_over_rows_eagerly_and_over_features_always():
    model = Net(lambda self, x: sum(column for column in x.T)[:, None] + self.w.sum())
    np.testing.assert_allclose(model.predict(np.ones((4, 3), "float32"), verbose=0), model(np.ones((4, 3), "float32")), rtol=1e-6)
    model = Net(lambda self, x: jnp.stack([row for row in x]) + self.w.sum())
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(np.ones((4, 3), "float32"), np.ones((4, 3), "float32"), verbose=0)


def test_the_cures_work():
    def cured(self, x):
        x = ops.where(x.sum() > 0, x, -x)
        x = ops.cond(x.max() < 1, lambda x: x * 2, lambda x: x, x)
        return ops.while_loop(lambda x: x.sum() < 9, lambda x: (x * 2,), (x,))[0]

    x = np.full((2, 3), 0.5, "float32")
    np.testing.assert_allclose(Net(cured).predict(x, verbose=0), np.full((2, 3), 2.0))


# ---- Tracebacks ----


def files_of(error):
    return [frame.filename for frame in traceback.extract_tb(error.__traceback__)]


def is_ours(file):
    return "/pellucid/" in file or "/jax/" in file


@pytest.mark.parametrize("where", EVERYWHERE)
def test_the_traceback_holds_the_users_frames(where):
    error = error_of(multiply, where)
    lines = [(f.name, f.line) for f in traceback.extract_tb(error.__traceback__) if not is_ours(f.filename)]
    assert lines[-1] == ("multiply", "return x @ self.w")
    assert ("call", "return self.block(x)") in lines
    assert sum(map(is_ours, files_of(error))) <= 2  # the function that was called, once for its subclass
    assert "JAX has removed" not in notes_of(error)
    assert "block" in notes_of(error)


def test_the_filter_can_be_turned_off_and_on(traceback_filtering):
    assert pellucid.config.is_traceback_filtering_enabled()
    pellucid.config.disable_traceback_filtering()
    assert not pellucid.config.is_traceback_filtering_enabled()
    assert sum(map(is_ours, files_of(error_of(multiply)))) > 5
    pellucid.config.enable_traceback_filtering()
    assert sum(map(is_ours, files_of(error_of(multiply)))) <= 2


def test_causes_and_contexts_stay():
    def chained(self, x):
        try:
            raise KeyError("table")
        except KeyError as error:
            raise LookupError("no table") from error

    error = error_of(chained, "fit")
    assert isinstance(error, LookupError)
    assert isinstance(error.__cause__, KeyError)


def test_a_fault_of_the_librarys_own_keeps_all_frames():
    with pytest.raises(ValueError, match="invalid literal") as raised:
        filtered(jax_compat.evaluate_size)("many", {})  # an error that nobody raised on purpose, and no frame of a user's below
    assert [f.name for f in traceback.extract_tb(raised.value.__traceback__)][2] == "evaluate_size"


def test_the_model_is_usable_after_an_error():
    model = Net(multiply)
    with pytest.raises(TypeError):
        run("predict", model)
    model.block.function = lambda self, x: x @ self.w[:3]
    run("predict", model)
