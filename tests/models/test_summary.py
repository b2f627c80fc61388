"""``model.summary()``: rows, indentation, shapes, connections, parameters, FLOPs, totals."""

from __future__ import annotations

import json
import pathlib
import re
import tempfile

import jax
import numpy as np
import optax
import pytest

import pellucid
from pellucid import layers
from tests.render.helpers import Transformer, WideAndDeep


def summary(model, **options):
    """The text that ``print_fn`` is given; it is called once."""
    (text,) = printed(model, **options)
    return text


def printed(model, **options):
    texts = []
    model.summary(print_fn=texts.append, **options)
    return texts


def rows(text):
    """The cells of each row, which stand apart by three spaces or more; the first with its indentation."""
    table = text.split("─\n")[-1].split("\n\n")[0]
    return [re.split(r" {3,}", line[1:]) if not line.startswith("   ") else [line[1:].rstrip()] for line in table.splitlines()]


@pytest.fixture(scope="module")
def nested():
    model = Transformer()
    model.build([(None, 5, 3), (None, 5)])
    return model


def test_the_table_of_the_wide_and_deep_model():
    text = summary(WideAndDeep(), input_shape=[(None, 5), (None, 6)])
    assert rows(text) == [
        ["input_1 (Input)", "(None, 5)"],
        ["input_2 (Input)", "(None, 6)"],
        ["hidden1 (Dense)", "(None, 30)", "input_2", "210", "420"],
        ["hidden2 (Dense)", "(None, 30)", "hidden1", "930", "1,860"],
        ["concatenate (Concatenate)", "(None, 35)", "input_1, hidden2", "0", "0"],
        ["main_output (Dense)", "(None, 1)", "concatenate", "36", "71"],
        ["aux_output (Dense)", "(None, 1)", "hidden2", "31", "61"],
    ]
    assert "Total params: 1,207 (4.71 KB)\nTrainable params: 1,207 (4.71 KB)\nNon-trainable params: 0 (0 B)\nFLOPs, a row: 2,412" in text


def test_nested_layers_and_operations_are_indented(nested):
    lines = summary(nested).splitlines()
    names = [re.match(r" ((?: {2})*)(· )?([\w/#]+)", line) for line in lines]
    depths = {m[3]: len(m[1]) // 2 for m in names if m}
    assert (depths["embed"], depths["blocks/0"], depths["attention"], depths["query"], depths["softmax"]) == (0, 0, 1, 2, 2)
    assert [m[3] for m in names if m and m[2]].count("einsum") == 2
    assert not any("query" in line or "einsum" in line for line in summary(nested, expand_nested=False).splitlines())


def test_connections_are_named_from_where_one_stands(nested):
    lines = summary(nested).splitlines()
    assert re.search(r"query \(Dense\) +\(None, 5, 8\) +embed +72", "\n".join(lines))
    assert any(re.search(r"· add +\(None, 5, 5\) +einsum, getitem", line) for line in lines)
    assert any(re.search(r"blocks/1 \(Block\) +\(None, 5, 8\) +blocks/0, input_2", line) for line in lines)


def test_layers_that_were_never_called_are_listed(nested):
    assert rows(summary(nested, expand_nested=False))[-1] == ["unused (Dense)", "not called", "?"]


def test_a_second_call_of_a_layer_is_marked_as_shared():
    class Net(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.shared = layers.Dense(3)
            self.scale = pellucid.Variable(np.ones(3, "float32"), name="scale")

        def call(self, x):
            return self.shared(self.shared(x)) * self.scale

    found = rows(summary(Net(), input_shape=(None, 3)))
    assert [(r[0], r[3]) for r in found[1:]] == [("shared (Dense)", "12"), ("shared#2 (Dense)", "shared"), ("· multiply", "3")]


class Scaled(layers.Layer):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)
        self.scale = pellucid.Variable(np.ones(3, "float32"), name="scale")

    def call(self, x):
        return self.dense(x) * self.scale


class Reused(pellucid.Model):
    """Every kind of second use: of a layer, of what is inside it under another name, of weights without their layer."""

    def __init__(self):
        super().__init__()
        self.scaled = Scaled()
        self.tied, self.shift = self.scaled.dense, pellucid.Variable(np.ones(3, "float32"), name="shift")

    def call(self, x):
        y = self.scaled(self.scaled(x)) + self.shift
        return self.tied(y) - self.shift + x @ self.tied.kernel


def test_weights_are_counted_where_they_are_used_first():
    text = summary(Reused(), input_shape=(None, 3))
    assert re.findall(r"^ +(?:· )?(\S+) .* (\w+) +\d+$", text, re.M)[:-1] == [
        *[("scaled", "15"), ("dense", "12"), ("multiply", "3")],
        *[("scaled#2", "shared"), ("dense", "shared"), ("multiply", "shared")],
        *[("add", "3"), ("tied", "shared"), ("subtract", "shared"), ("matmul", "shared")],
    ]
    assert "Total params: 18 (72 B)" in text


def test_the_column_adds_up_to_the_total_in_nested_models():
    class Holds(layers.Layer):
        def __init__(self, dense):
            super().__init__()
            self.dense, self.own = dense, layers.Dense(3)

        def call(self, x):
            return self.own(self.dense(x))

    class Outer(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.inner, common = Reused(), layers.Dense(3)
            self.one, self.other = Holds(common), Holds(common)
            self.unused = Holds(common)

        def call(self, x):
            return self.other(self.one(self.inner(self.inner(x))))

    model = Outer()
    text = summary(model, input_shape=(None, 3), expand_nested=False)
    counts = {r[0]: r[3] for r in rows(text)[1:] if len(r) > 3}
    assert counts == {"inner (Reused)": "18", "inner#2 (Reused)": "shared", "one (Holds)": "24", "other (Holds)": "12 + shared"}
    assert f"Total params: {18 + 24 + 12} " in text
    boxes = {b["path"]: b for b in json.loads(saved(model))["boxes"]}
    assert [boxes[p]["shared"] for p in ("inner/scaled/multiply", "inner#2/scaled/multiply", "other")] == [False, True, False]


def saved(model):
    with tempfile.TemporaryDirectory() as folder:
        return pathlib.Path(model.graph.save(f"{folder}/m.json")).read_text()


def test_several_outputs_have_a_line_each():
    class Two(layers.Layer):
        def call(self, x):
            return x + 1, x[:, :2]

    class Net(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.two = Two()

        def call(self, x):
            return self.two(x)

    assert re.search(r"two \(Two\) +\(None, 3\).*\n +\(None, 2\)\n", summary(Net(), input_shape=(None, 3)))


@pytest.mark.parametrize("width", [80, 100])
def test_no_line_is_longer_than_the_table_may_be(nested, width):
    assert max(map(len, summary(nested, line_length=width, show_trainable=True).splitlines())) <= width


def test_what_is_trainable_has_a_column_when_asked_for():
    model = WideAndDeep()
    model.build([(None, 5), (None, 6)])
    model.hidden1.trainable = False
    text = summary(model, show_trainable=True)
    assert {r[0]: r[-1] for r in rows(text) if "hidden" in r[0]} == {"hidden1 (Dense)": "no", "hidden2 (Dense)": "yes"}
    assert "Trainable params: 997 (3.89 KB)\nNon-trainable params: 210 (840 B)" in text
    assert "Trainable\n" not in summary(model)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", optax.sgd(0.1, momentum=0.9)])
def test_optimizer_state_is_counted_before_and_after_training(optimizer):
    model = WideAndDeep()
    model.build([(None, 5), (None, 6)])
    assert "Optimizer" not in summary(model)
    model.compile(optimizer, loss=["mse", "mse"])
    before = re.search(r"Optimizer state: ([\d,]+) \(", summary(model))[1]
    x, y = [np.zeros((4, 5), "float32"), np.zeros((4, 6), "float32")], np.zeros((4, 1), "float32")
    model.fit(x, [y, y], verbose=0)
    slots = [v for v in model.optimizer.variables if v.path.rpartition("/")[2] not in ("iterations", "learning_rate")]
    assert int(before.replace(",", "")) == sum(v.size for v in slots)
    assert f"Optimizer state: {before} (" in summary(model)


def test_before_a_capture_it_says_what_to_do():
    text = summary(WideAndDeep())
    assert "model.summary(input_shape=(None, …))" in text
    assert rows(text)[0] == ["hidden1 (Dense)", "not built", "?"]


def test_a_range_of_layers(nested):
    names = lambda *ends: [r[0] for r in rows(summary(nested, layer_range=ends, expand_nested=False)) if r[0] != "unused (Dense)"]
    assert names("embed", "blocks/0") == ["embed (Dense)", "blocks/0 (Block)"]
    assert names("blocks/.*", "mean") == ["blocks/0 (Block)", "blocks/1 (Block)", "· mean"]
    inside = summary(nested, layer_range=("blocks/1", "blocks/1"))
    assert inside.count("query (Dense)") == 1 and "embed (Dense)" not in inside


def test_a_range_that_fits_nothing_is_refused(nested):
    with pytest.raises(ValueError, match="layer_range has 'nothing'; the layers are: input_1, input_2, embed"):
        nested.summary(layer_range=("embed", "nothing"))
    with pytest.raises(ValueError, match="'head' is called after 'embed'"):
        nested.summary(layer_range=("head", "embed"))
    for wrong in ("embed", ("embed",), (1, 2)):
        with pytest.raises(ValueError, match="expected the names of the first and the last layer"):
            nested.summary(layer_range=wrong)


def test_it_prints_when_nothing_takes_the_text(capsys):
    model = WideAndDeep()
    model.summary(input_shape=[(None, 5), (None, 6)])
    assert capsys.readouterr().out == summary(model) + "\n"


def test_flops_of_a_dense_layer_are_what_the_compiler_counts():
    class Net(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(64)

        def call(self, x):
            return self.dense(x)

    model = Net()
    found = int(re.search(r"FLOPs, a row: ([\d,]+)", summary(model, input_shape=(None, 32)))[1].replace(",", ""))
    compiled = jax.jit(lambda x, w, b: x @ w + b).lower(np.zeros((1, 32)), np.zeros((32, 64)), np.zeros(64)).compile()
    assert found == pytest.approx(compiled.cost_analysis()["flops"], rel=0.02)
