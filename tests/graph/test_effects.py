"""Side effects seen during a capture are told with their file and line, and nothing stays behind."""

from __future__ import annotations

import contextlib
import io
import random
import re
import sys
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import layers
from pellucid.core.layer import Hooks
from pellucid.errors import SideEffectWarning
from tests.graph.helpers import Net, spec

HERE = __file__.rsplit("/", 1)[-1]


def line_of(function, offset=0):
    return function.__code__.co_firstlineno + offset


def captured_with_warnings(net, *args):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net.capture((4, 3), *args)
    return [w for w in caught if w.category is SideEffectWarning]


# ---- print ----


def test_a_print_is_shown_and_told_at_its_line(capsys):
    def call(m, x, t):
        y = x * 2
        print("shape", y.ndim)
        return y

    net = Net(call)
    (warning,) = captured_with_warnings(net)
    assert capsys.readouterr().out == "shape 2\n"
    assert (warning.filename, warning.lineno) == (__file__, line_of(call, 2))
    assert "while `call` was captured" in str(warning.message) and "pellucid.print" in str(warning.message)
    (effect,) = net.ledger[0].effects
    assert str(effect).startswith(f"{HERE}:{line_of(call, 2)}: print ran once")


def test_each_place_is_told_once():
    def call(m, x, t):
        for i in range(3):
            print(i)
        print("done")
        return x

    net = Net(call)
    found = captured_with_warnings(net)
    assert [w.lineno for w in found] == [line_of(call, 2), line_of(call, 3)]
    assert captured_with_warnings(net) == []  # no new capture, no new warning


def test_a_print_inside_a_nested_layer_is_told_at_its_own_line():
    class Talks(layers.Layer):
        def call(self, x):
            sys.stdout.write("hello\n")
            return x

    (warning,) = captured_with_warnings(Net(lambda m, x, t: m.talks(x), talks=Talks()))
    assert warning.lineno == line_of(Talks.call, 1)


def test_stdout_is_the_same_object_afterwards():
    before = sys.stdout
    seen = []
    with pytest.warns(SideEffectWarning, match="print"), pytest.warns(SideEffectWarning, match="seen"):
        Net(lambda m, x, t: seen.append(sys.stdout) or print("x") or x).capture((4, 3))
    assert sys.stdout is before
    assert seen[0].encoding == before.encoding  # in call it behaves as the stream itself


def test_stdout_is_the_same_object_after_an_exception():
    before = sys.stdout

    def call(m, x, t):
        print("before the error")
        raise KeyError("no")

    with pytest.raises(KeyError):
        Net(call).capture((4, 3))
    assert sys.stdout is before
    assert Hooks.attribute_written is None


def test_output_that_call_redirects_is_not_told():
    def call(m, x, t):
        with contextlib.redirect_stdout(io.StringIO()):
            print("into a buffer")
        return x

    before = sys.stdout
    assert captured_with_warnings(Net(call)) == []
    assert sys.stdout is before


def test_a_stream_that_call_puts_in_place_for_good_stays():
    stream, before = io.StringIO(), sys.stdout

    def call(m, x, t):
        sys.stdout = stream
        return x

    try:
        Net(call).capture((4, 3))
        assert sys.stdout is stream
    finally:
        sys.stdout = before


def test_prints_before_and_after_a_capture_are_nobodys_business(capsys):
    print("before")
    assert captured_with_warnings(Net(lambda m, x, t: x)) == []
    print("after")
    assert capsys.readouterr().out == "before\nafter\n"


def test_pellucids_own_print_is_no_side_effect(capsys):
    net = Net(lambda m, x, t: pellucid.print("sum", x.sum()) or x)
    assert captured_with_warnings(net) == []
    graph = net.graph
    for _ in range(2):
        graph.run(jnp.ones((4, 3)), False)
    jax.effects_barrier()
    assert capsys.readouterr().out == "sum 12.0\n" * 2


# ---- attributes ----


def test_an_attribute_assigned_in_call_is_told_with_the_cure():
    def call(m, x, t):
        m.last_mode = "captured"
        return x

    net = Net(call)
    (warning,) = captured_with_warnings(net)
    assert (warning.filename, warning.lineno) == (__file__, line_of(call, 1))
    assert "`self.last_mode` was assigned once" in str(warning.message) and "add_weight" in str(warning.message)


def test_an_attribute_that_keeps_a_traced_value_is_told_as_such():
    def call(m, x, t):
        m.last = x * 2
        return x

    (warning,) = captured_with_warnings(Net(call))
    assert "keeps a value that exists only inside the capture" in str(warning.message)


def test_an_attribute_of_a_nested_layer_is_told_by_its_path():
    class Remembers(layers.Layer):
        def call(self, x):
            self.seen = True
            return x

    (warning,) = captured_with_warnings(Net(lambda m, x, t: m.blocks[0](x), blocks=[Remembers()]))
    assert "`blocks/0.seen`" in str(warning.message)


def test_attributes_assigned_in_build_are_no_side_effect():
    class Builds(layers.Layer):
        def build(self, input_shape):
            self.units, self.w = input_shape[-1], self.add_weight((input_shape[-1],))

        def call(self, x):
            return x * self.w

    assert captured_with_warnings(Net(lambda m, x, t: m.b(x), b=Builds())) == []


def test_layers_made_in_call_and_locals_are_no_side_effect():
    def call(m, x, t):
        activation = layers.Activation("relu")
        values = [x]
        values.append(activation(x))
        return sum(values)

    assert captured_with_warnings(Net(call)) == []


def test_effects_of_an_eager_run_are_not_told():
    net = Net(lambda m, x, t: setattr(m, "count", 1) or print("hello") or x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net(np.ones((4, 3), "float32"))


def test_a_variable_assigned_in_call_is_no_side_effect():
    net = Net(lambda m, x, t: m.count.assign_add(1.0) or x, count=np.array(0.0, "float32"))
    assert captured_with_warnings(net) == []


def test_both_captures_of_one_use_tell_a_place_once():
    def call(m, x, t):
        print("twice")
        return x * len(x)  # refuses the symbolic batch: `call` runs again at the present size

    net = Net(call)
    found = captured_with_warnings(net)
    assert net.ledger.call_count == 2
    assert [w.lineno for w in found] == [line_of(call, 1)]


def append_to_list(m, x, t):
    m.log.append(1)
    return x


def keep_in_list(m, x, t):
    m.log.append(x)
    return x


def set_item_of_dict(m, x, t):
    m.settings["seen"] = True
    return x


def draw_by_numpy(m, x, t):
    return x * np.random.rand()


def draw_by_random(m, x, t):
    return x * random.random()


def read_the_clock(m, x, t):
    return x * (time.time() > 0)


def make_a_layer(m, x, t):
    return layers.Dense(2)(x)


def make_a_variable(m, x, t):
    return x * pellucid.Variable(np.ones(3, "float32"))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (append_to_list, "log"),
        (keep_in_list, "log"),
        (set_item_of_dict, "settings"),
        (draw_by_numpy, "numpy.random"),
        (draw_by_random, "random"),
        (read_the_clock, "time"),
        (make_a_layer, "Dense|dense"),
        (make_a_variable, "variable"),
    ],
)
def test_more_side_effects_are_told_at_their_line(call, words):
    net = Net(call, log=[], settings={})
    found = captured_with_warnings(net)
    assert [w.lineno for w in found] == [line_of(call, 1)]
    assert re.search(words, str(found[0].message))


def test_effects_are_part_of_the_story():
    net = Net(lambda m, x, t: print("hello") or x)
    with pytest.warns(SideEffectWarning):
        net.capture(spec(4, 3))
    assert f"Side effect at {HERE}:{line_of(net.function)}" in net.ledger.story("Net")
