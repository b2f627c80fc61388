"""Whatever a model's public face is given that it cannot take is refused: by name, with the value, what was expected, and the cure."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import pellucid
from pellucid import layers, ops, testing
from pellucid.errors import DataError, DataWarning

X = np.linspace(-1, 1, 24, dtype="float32").reshape(8, 3)
Y = X[:, :1]
DRAWN = ("svg", "html", "mmd", "dot")


class Net(pellucid.Model):
    def __init__(self):
        super().__init__(name="net")
        self.hidden, self.out = layers.Dense(4), layers.Dense(1)

    def call(self, x):
        return self.out(ops.tanh(self.hidden(x)))


class Returns(pellucid.Model):
    def __init__(self, value):
        super().__init__(name="returns")
        self.value = value

    def call(self, x):
        return self.value


class Identity(pellucid.Model):
    def call(self, x):
        return x


@pytest.fixture(scope="module")
def model():
    net = Net()
    net.compile("sgd", "mse")
    net.build((None, 3))
    return net


def quiet(text):
    """Takes what would be printed."""


# what is called, the error, what its message must hold
SHAPES = {
    "a size that is not whole": ((None, 3.5), ValueError, "shape (None, 3.5), which holds 3.5; expected whole numbers, and None"),
    "a negative size": ((None, -3), ValueError, "shape (None, -3), which holds -3"),
    "a truth value": ((None, True), ValueError, "shape (None, True), which holds True"),
    "no axis": ((), ValueError, "shape (), which has no axis for the rows; expected one such as (None, 3)"),
    "a scalar": (np.float32(1), ValueError, "holds single numbers only; expected arrays with the rows first"),
    "nothing": ([], ValueError, "holds no array; expected arrays with the rows first"),
    "a text": ("abc", TypeError, "='abc'; expected an array or a shape such as (None, 3)"),
    "a text inside": ([(None, 3), "abc"], TypeError, "[1]='abc'; expected an array or a shape"),
    "a text in a dict": ({"a": "abc"}, TypeError, "['a']='abc'; expected an array or a shape"),
    "one number": (5, TypeError, "=5; expected an array or a shape"),
    "data in lists": ([[1.0, 2.0]], ValueError, "np.asarray(x)"),
    "texts": (np.array([["a"]]), DataError, "has dtype <U1, which is not numeric"),
}
ASKED = {
    "capture: inputs": lambda m, x: m.capture(x),
    "preflight: x": lambda m, x: m.preflight(x),
    "summary: input_shape": lambda m, x: m.summary(input_shape=x),
    "build: input_shape": lambda m, x: m.build(x),
}


@pytest.mark.parametrize(("given", "error", "words"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("asked", ASKED)
def test_what_describes_no_inputs_is_refused_by_the_function_that_was_called(asked, given, error, words):
    net = Net()
    with pytest.raises(error) as caught:
        ASKED[asked](net, given)
    assert str(caught.value).startswith(asked) and words in str(caught.value)
    assert net.ledger.call_count == 0 and not net.built
    net.build((None, 3))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.0, "returned 0.0, which no input went into"),
        ([1.0, np.float32(2)], "which no input went into"),
        ({}, "returned {}, which no input went into"),
        ("abc", "returned 'abc'"),
        ({"a": X, "b": "abc"}, "returned 'abc' at ['b']"),
        ((X, np.array(["a"])), "returned array(['a'], dtype='<U1') at [1]"),
        (quiet, "returned <function quiet"),
    ],
)
@pytest.mark.parametrize("use", [lambda m: m.build((None, 3)), lambda m: m.predict(X, verbose=0), lambda m: m.fit(X, Y, verbose=0)])
def test_a_call_that_returns_no_arrays_is_told(value, told, use):
    net = Returns(value)
    net.compile("sgd", "mse")
    with pytest.raises(TypeError) as caught:
        use(net)
    message = str(caught.value)
    assert message.startswith("`call` of Returns 'returns'") and told in message
    assert "expected an array that it computed from the inputs" in message


def test_numbers_among_the_outputs_are_arrays():
    class WithZero(Net):
        def call(self, x):
            return super().call(x), 0.0

    net = WithZero()
    net.compile("sgd", {"out": "mse"})
    net.fit(X, {"out": Y}, verbose=0)
    assert net.predict(X, verbose=0)[1] == 0


BAD = {
    "training": (lambda m, d: m.capture((None, 3), training="yes"), ValueError, "capture: training='yes'; expected True or False."),
    "diff": (lambda m, d: m.graph.diff(None), TypeError, "graph.diff: other=None; expected a Graph, as model.graph"),
    "a node by number": (lambda m, d: m.graph[0], TypeError, "graph[0]: expected the path of a node, a text such as 'hidden'"),
    "a node that is not there": (
        lambda m, d: m.graph["hiden"],
        KeyError,
        "no node 'hiden'. Did you mean 'hidden'? Its nodes: hidden, tanh",
    ),
    "children of no node": (lambda m, d: m.graph.children("nope"), KeyError, "no node 'nope'"),
    "activations: number": (lambda m, d: m.activations(X, 5), ValueError, "activations: outputs=5; expected the path of a node"),
    "activations: no path": (lambda m, d: m.activations(X, []), ValueError, "activations: outputs=[]; expected the path of a node"),
    "activations: dict": (lambda m, d: m.activations(X, {"a": "out"}), ValueError, "activations: outputs={'a': 'out'}; expected"),
    "activations: nested": (lambda m, d: m.activations(X, [["out"]]), ValueError, "activations: outputs=[['out']]; expected"),
    "activations: unknown": (lambda m, d: m.activations(X, ["nope"]), KeyError, "no node 'nope'. Its nodes: hidden, tanh, out"),
    "activations: iterator": (lambda m, d: m.activations(iter([X])), DataError, "activations: x is a list_iterator; expected an array"),
    **{
        f"activations: batch_size={v!r}": (
            lambda m, d, v=v: m.activations(X, "hidden", v),
            ValueError,
            f"activations: batch_size={v!r}; expected a positive whole number or None.",
        )
        for v in (0, -1, 2.5, "8", True)
    },
    "identity": (
        lambda m, d: Identity().activations(X),
        ValueError,
        "no layer and no operation to show the value of; expected outputs='input'",
    ),
    "plot a layer": (
        lambda m, d: pellucid.utils.plot_model(m.out, d / "a.mmd"),
        TypeError,
        "expected a Model. A layer is drawn as part of a model",
    ),
    "plot a graph": (
        lambda m, d: pellucid.utils.plot_model(m.graph, d / "a.mmd"),
        TypeError,
        "expected a Model. Draw it with graph.save(path).",
    ),
    "plot nothing": (lambda m, d: pellucid.utils.plot_model(None, d / "a.mmd"), TypeError, "plot_model: model=None; expected a Model."),
    "plot: flag": (
        lambda m, d: pellucid.utils.plot_model(m, d / "a.mmd", show_shapes="no"),
        ValueError,
        "plot_model: show_shapes='no'; expected",
    ),
    "plot: rankdir": (
        lambda m, d: pellucid.utils.plot_model(m, d / "a.json", rankdir="up"),
        ValueError,
        "plot_model: rankdir='up'; expected 'TB'",
    ),
    "plot: dpi": (
        lambda m, d: pellucid.utils.plot_model(m, d / "a.png", dpi=0),
        ValueError,
        "plot_model: dpi=0; expected a positive number",
    ),
    "plot: file": (lambda m, d: pellucid.utils.plot_model(m, 3), TypeError, "plot_model: to_file=3; expected the name of a file"),
    **{
        f"save: dpi={v!r}": (lambda m, d, v=v: m.graph.save(d / "a.png", dpi=v), ValueError, f"save: dpi={v!r}; expected a positive number")
        for v in (0, -3, float("nan"), float("inf"), "200", None, True)
    },
    "save: huge": (lambda m, d: m.graph.save(d / "a.png", dpi=1e9), ValueError, "dpi=1e+09: the png would be too large"),
    **{
        f"save: {s} flag": (
            lambda m, d, s=s: m.graph.save(d / f"a.{s}", show_shapes="no"),
            ValueError,
            "save: show_shapes='no'; expected True",
        )
        for s in DRAWN
    },
    **{
        f"save: {s} rankdir": (lambda m, d, s=s: m.graph.save(d / f"a.{s}", rankdir=None), ValueError, "save: rankdir=None; expected 'TB'")
        for s in DRAWN
    },
    "save: format": (lambda m, d: m.graph.save(d / "a", format=["svg"]), ValueError, "save: format=['svg']; expected one of svg"),
    "save: bytes": (lambda m, d: m.graph.save(b"a.mmd"), TypeError, "save: path=b'a.mmd'; expected the name of a file"),
    "save: ending": (lambda m, d: m.graph.save("a.txt"), ValueError, "save: path='a.txt'; expected a name that ends in .svg"),
    "report: ending": (
        lambda m, d: m.report(d / "r.svg"),
        ValueError,
        "r.svg'; expected a name that ends in .html. graph.save(path) draws svg",
    ),
    "report: number": (lambda m, d: m.report(3), TypeError, "report: path=3; expected the name of a file, such as 'report.html'."),
    "layer_range: pattern": (
        lambda m, d: m.summary(layer_range=("hid[", "out")),
        ValueError,
        "layer_range=('hid[', 'out') holds no regular expression",
    ),
    "layer_range: nothing": (
        lambda m, d: m.summary(layer_range=("nope", "out")),
        ValueError,
        "summary: layer_range has 'nope'; the layers are",
    ),
    **{
        f"layer_range={v!r}": (
            lambda m, d, v=v: m.summary(layer_range=v),
            ValueError,
            f"layer_range={v!r}; expected the names of the first",
        )
        for v in (5, {"hidden": 1, "out": 2}, frozenset({"out"}), (None, "out"))
    },
    "layer_range: unbuilt": (
        lambda m, d: Net().summary(layer_range=("hidden", "out")),
        ValueError,
        "not captured yet; expected input_shape",
    ),
    **{
        f"line_length={v!r}": (
            lambda m, d, v=v: m.summary(line_length=v),
            ValueError,
            f"summary: line_length={v!r}; expected a positive whole",
        )
        for v in (0, -5, "80", 2.5)
    },
    "print_fn": (lambda m, d: m.summary(print_fn="print"), TypeError, "summary: print_fn='print'; expected a function that takes the text"),
    "summary: flag": (lambda m, d: m.summary(expand_nested="no"), ValueError, "summary: expand_nested='no'; expected True or False."),
    "ledger: number": (lambda m, d: m.ledger[5], IndexError, "ledger[5]: `call` of Net has 1 runs in the ledger"),
    "ledger: text": (lambda m, d: m.ledger["a"], TypeError, "ledger['a']: expected the number of a run"),
    "shuffle": (lambda m, d: m.fit(X, Y, shuffle="yes", verbose=0), ValueError, "fit: shuffle='yes'; expected True or False."),
    "run_eagerly": (
        lambda m, d: m.compile("sgd", "mse", run_eagerly="yes"),
        ValueError,
        "compile: run_eagerly='yes'; expected True or False.",
    ),
    "jit_compile": (
        lambda m, d: m.compile("sgd", "mse", jit_compile="yes"),
        ValueError,
        "compile: jit_compile='yes'; expected True or False.",
    ),
    "assert_captures: text": (lambda m, d: counted(m, at_most="1"), ValueError, "assert_captures: at_most='1'; expected a whole number"),
    "assert_captures: negative": (lambda m, d: counted(m, exactly=-1), ValueError, "exactly=-1; expected a whole number of at least 0."),
    "assert_captures: a layer": (lambda m, d: counted(m.out, at_most=1), TypeError, "expected a Model, which has a ledger."),
    "preflight: rows": (lambda m, d: m.preflight(X, 10**12), ValueError, "preflight: batch_size=1000000000000; expected at most"),
    "get_layer": (lambda m, d: m.get_layer(index="out"), TypeError, "get_layer: index='out'; expected a whole number"),
    "preflight: targets": (lambda m, d: m.preflight(X, 8, y="abc"), TypeError, "preflight: y='abc'; expected an array or a shape"),
}


INSIDE = {
    "capture": lambda m, x: m.capture((None, 3)),
    "build": lambda m, x: m.predict(X, verbose=0),
}


@pytest.mark.parametrize("asks", INSIDE.values(), ids=INSIDE)
def test_a_call_that_asks_for_its_own_graph_is_told(asks):
    class Asks(Net):
        def call(self, x):
            asks(self, x)
            return super().call(x)

    net = Asks()
    with pytest.raises(
        pellucid.CaptureError, match=r"`call` of Asks 'net' asks for its own graph .* without end\. Use the layers in `call`"
    ):
        net.build((None, 3))
    assert not net.weights


def test_a_value_that_is_traced_is_no_data():
    class Asks(Net):
        def call(self, x):
            return self.predict(x, verbose=0)

    with pytest.raises(DataError, match=r"predict: x has no values yet.*self\(x\)"):
        Asks().build((None, 3))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shape": "abc"}, "has shape (None, 'a', 'b', 'c'), which holds 'a'"),
        ({"shape": (3.5,)}, "has shape (None, 3.5), which holds 3.5"),
        ({"shape": (-3,)}, "has shape (None, -3), which holds -3"),
        ({"shape": (3,), "batch_size": "8"}, "has shape ('8', 3), which holds '8'"),
        ({"shape": (3,), "name": 3}, "Input: name=3; expected a text."),
    ],
)
def test_an_input_of_no_shape_is_refused(options, words):
    with pytest.raises(ValueError, match="^Input: ") as caught:
        pellucid.Input(**options)
    assert words in str(caught.value)


def counted(model, **expected):
    with testing.assert_captures(model, **expected):
        raise AssertionError("the check comes first")


@pytest.mark.parametrize(("wrong", "error", "words"), BAD.values(), ids=BAD)
def test_a_bad_argument_is_named_and_nothing_is_lost(model, tmp_path, wrong, error, words):
    before, runs = model.get_weights(), model.ledger.call_count
    with pytest.raises(error) as caught:
        wrong(model, tmp_path)
    assert words in str(caught.value.args[0])
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert model.ledger.call_count == runs and not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [True, False, 1, 0, None, "batch", np.True_])
def test_whatever_keras_takes_for_shuffle_is_taken(value):
    net = Net()
    net.compile("sgd", "mse", run_eagerly=None if value is None else bool(value == 5))
    net.fit(X, Y, shuffle=value, verbose=0)


def test_whole_numbers_of_numpy_are_whole_numbers():
    net = Net()
    net.compile("sgd", "mse", steps_per_execution=np.int64(2), max_captures=np.int64(1))
    net.fit(X, Y, batch_size=np.int64(4), verbose=0)
    assert net.activations(X, "hidden", np.int32(3)).shape == (8, 4)


def test_activations_warn_of_the_data_once():
    x = X.copy()
    x[2, 1] = np.nan
    with pytest.warns(DataWarning) as caught:
        Net().activations(x)
    assert len(caught) == 1 and "activations: x holds 1 NaN" in str(caught[0].message)


def test_values_inside_a_loop_are_left_out_of_all_activations():
    class Loops(Net):
        def call(self, x):
            return self.out(ops.fori_loop(0, 2, lambda i, c: ops.tanh(c), self.hidden(x)))

    net = Loops()
    net.build((None, 3))
    found = net.activations(X)
    assert {"hidden", "out"} <= set(found) and all(v.shape[0] == 8 for v in found.values())


def test_an_input_of_64_bits_is_one_of_32_where_jax_has_no_others():
    if jax.config.jax_enable_x64:
        pytest.skip("there are 64 bits")
    x = pellucid.Input((3,), dtype="float64")
    net = pellucid.Model(x, layers.Dense(1)(x))
    assert x.dtype == "float32" and net.predict(X.astype("float64"), verbose=0).dtype == "float32"
