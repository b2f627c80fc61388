"""Side effects seen during a capture are told with their file and line, and nothing stays behind."""

from __future__ import annotations

import contextlib
import datetime
import io
import logging
import os
import pathlib
import random
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
import uuid
import warnings
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import layers
from pellucid.core.hooks import Hooks
from pellucid.errors import KeptValueError, SideEffectError, SideEffectWarning
from pellucid.graph import watch
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


class Holder:
    def __init__(self, **fields):
        vars(self).update(fields)


TOTAL = 0
KEPT = None
NOTED: list = []
HOLDER = Holder(n=0)


@pytest.fixture(autouse=True)
def _globals_restored():
    yield
    globals().update(TOTAL=0, KEPT=None)
    NOTED.clear()


def write_a_global(m, x, t):
    global TOTAL
    TOTAL += 1
    return x


def append_to_a_global(m, x, t):
    return helper_that_notes(x)


def helper_that_notes(x):
    NOTED.append("seen")
    return x


def change_a_field(m, x, t):
    m.holder.hits += 1
    return x


def change_a_list_in_a_dict(m, x, t):
    m.nested["a"][0].extend([1, 2])
    return x


def change_under_another_name(m, x, t):
    log = m.log
    log.append(1)
    return x


def add_to_a_set(m, x, t):
    m.names.add("b")
    return x


def delete_an_item(m, x, t):
    del m.nested["a"]
    return x


def fill_an_array(m, x, t):
    m.arrays[0][:] = 1.0
    return x


def draw_by_an_own_generator(m, x, t):
    return x * m.rng.normal()


def draw_by_an_own_random(m, x, t):
    return x * m.dice.randint(1, 6)


def draw_a_uuid(m, x, t):
    uuid.uuid4()
    return x


def read_the_date(m, x, t):
    datetime.datetime.now()
    return x


def measure(m, x, t):
    perf_counter()
    return x


def log(m, x, t):
    logging.getLogger("pellucid.tests").error("hello")
    return x


def write_to_stderr(m, x, t):
    sys.stderr.write("hello\n")
    return x


def write_a_file(m, x, t):
    with open(m.file, mode="w"):
        return x


def write_by_pathlib(m, x, t):
    pathlib.Path(m.file).write_text("hello")
    return x


def write_to_an_open_file(m, x, t):
    m.stream.write("hello")
    return x


def open_a_socket(m, x, t):
    with socket.socket():
        return x


def start_a_program(m, x, t):
    subprocess.run([sys.executable, "-c", ""], check=True)
    return x


@pytest.mark.parametrize(
    ("call", "line", "words"),
    [
        (write_a_global, 2, r"global `TOTAL` \(test_effects.py\) was assigned from 0 to 1 once"),
        (append_to_a_global, None, r"global `NOTED` \(test_effects.py\) changed from \[\] to \['seen'\] once"),
        (change_a_field, 1, r"`self.holder.hits` changed from 0 to 1 once"),
        (change_a_list_in_a_dict, 1, r"`self.nested\['a'\]\[0\]` changed from \[\] to \[1, 2\] once"),
        (change_under_another_name, 2, r"`self.log` changed from \[\] to \[1\] once"),
        (add_to_a_set, 1, r"`self.names` changed from set\(\) to {'b'} once"),
        (delete_an_item, 1, r"`self.nested` changed from .* to {} once"),
        (fill_an_array, 1, r"`self.arrays\[0\]` changed once"),
        (draw_by_an_own_generator, 1, "drew once.*SeedGenerator"),
        (draw_by_an_own_random, 1, "drew once.*SeedGenerator"),
        (draw_a_uuid, 1, "uuid.uuid4` drew once"),
        (read_the_date, 1, "datetime.now` read the clock once"),
        (measure, 1, "time.perf_counter` read the clock once"),
        (log, 1, "logged once"),
        (write_to_stderr, 1, "print ran once"),
        (write_a_file, 1, "`open` wrote to a file once"),
        (write_by_pathlib, 1, "write_text` wrote to a file once"),
        (write_to_an_open_file, 1, "TextIOWrapper.write` wrote to a file once"),
        (open_a_socket, 1, "socket.socket` used the network once"),
        (start_a_program, 1, "`subprocess.run` started a program once"),
    ],
)
def test_every_kind_of_side_effect_is_told_at_its_line(call, line, words, tmp_path):
    with open(tmp_path / "open.txt", "w") as stream:
        net = Net(
            call,
            log=[],
            holder=Holder(hits=0),
            nested={"a": [[]]},
            names=set(),
            arrays=[np.zeros(2)],
            rng=np.random.default_rng(0),
            dice=random.Random(0),
            file=str(tmp_path / "file.txt"),
            stream=stream,
        )
        (found,) = captured_with_warnings(net)
    assert (found.filename, found.lineno) == (__file__, line_of(helper_that_notes, 1) if line is None else line_of(call, line))
    assert re.search(words, str(found.message))


def test_a_closure_variable_that_is_written_is_told_at_its_line():
    count = 0

    def call(m, x, t):
        nonlocal count
        count += 1
        return x

    (found,) = captured_with_warnings(Net(call))
    assert found.lineno == line_of(call, 2)
    assert "closure variable `count` (test_effects.py) was assigned from 0 to 1 once" in str(found.message)


def read_a_file(m, x, t):
    with open(m.file) as file:
        return x * len(file.read())


def use_a_local_generator(m, x, t):
    return x * random.Random(0).getstate()[0]


def log_what_is_not_shown(m, x, t):
    logging.getLogger("pellucid.tests").debug("hello")
    return x


def ask_a_state(m, x, t):
    return x * len(np.random.get_state(legacy=True)[0]) * len(random.getstate())


def write_the_same_again(m, x, t):
    m.settings["a"] = 1
    return x


def write_to_a_buffer(m, x, t):
    io.StringIO().write("hello")
    return x


@pytest.mark.parametrize(
    "call", [read_a_file, use_a_local_generator, log_what_is_not_shown, ask_a_state, write_the_same_again, write_to_a_buffer]
)
def test_what_repeats_or_leaves_nothing_is_no_side_effect(call, tmp_path):
    (tmp_path / "file.txt").write_text("hello")
    assert captured_with_warnings(Net(call, file=str(tmp_path / "file.txt"), settings={"a": 1})) == []


def test_effects_are_told_in_the_order_in_which_they_happened():
    def call(m, x, t):
        print("first")
        m.second = 1
        m.third.append(1)
        print("fourth")
        return x

    net = Net(call, third=[])
    lines = [w.lineno - line_of(call) for w in captured_with_warnings(net)]
    assert lines == [1, 2, 3, 4]


# ---- Traced values that are kept ----


def keep_in_a_list(m, x, t):
    m.log.append(x)
    return x


def keep_in_a_nested_dict(m, x, t):
    m.nested["a"][0]["last"] = x
    return x


def keep_in_an_object(m, x, t):
    m.holder.last = (1, x * 2)
    return x


def keep_in_an_attribute(m, x, t):
    m.last = {"x": x}
    return x


def keep_in_a_global(m, x, t):
    global KEPT
    KEPT = x
    return x


class Keeper:
    last = None
    log: list = []


class Slots:
    __slots__ = ("last",)


def helper_that_keeps(x, seen=[]):  # noqa: B006
    seen.append(x)
    return x


def keep_in_a_class(m, x, t):
    Keeper.last = x
    return x


def keep_in_a_list_of_a_class(m, x, t):
    Keeper.log.append(x)
    return x


def keep_in_the_class_of_the_layer(m, x, t):
    type(m).last = x
    return x


def keep_in_a_list_of_the_layers_class(m, x, t):
    m.shared.append(x)
    return x


def keep_in_an_array(m, x, t):
    m.objects[0][1] = x
    return x


def keep_in_a_function(m, x, t):
    helper_that_keeps.last = x
    return x


def keep_in_a_default(m, x, t):
    return helper_that_keeps(x)


def keep_in_slots(m, x, t):
    m.slots.last = x
    return x


class Sharing(Net):
    last = None
    shared: list = []


@pytest.fixture
def _classes_restored():
    yield
    Keeper.last = Sharing.last = None
    Keeper.log.clear()
    Sharing.shared.clear()
    vars(helper_that_keeps).clear()
    helper_that_keeps.__defaults__[0].clear()


@pytest.mark.usefixtures("_classes_restored")
@pytest.mark.parametrize(
    ("call", "line", "name", "get"),
    [
        (keep_in_a_class, 1, "global `Keeper.last`", lambda m: Keeper.last),
        (keep_in_a_list_of_a_class, 1, "global `Keeper.log[0]`", lambda m: Keeper.log[0]),
        (keep_in_the_class_of_the_layer, 1, "class `Sharing.last`", lambda m: Sharing.last),
        (keep_in_a_list_of_the_layers_class, 1, "class `Sharing.shared[0]`", lambda m: Sharing.shared[0]),
        (keep_in_an_array, 1, "`self.objects[0][1]`", lambda m: m.objects[0][1]),
        (keep_in_a_function, 1, "global `helper_that_keeps.last`", lambda m: helper_that_keeps.last),
        (keep_in_a_default, None, "default `seen[0]`", lambda m: helper_that_keeps.__defaults__[0][0]),
        (keep_in_slots, 1, "`self.slots.last`", lambda m: m.slots.last),
    ],
)
def test_a_value_kept_in_an_unusual_place_is_told_and_replaced(call, line, name, get):
    net = Sharing(call, objects=[np.array([None, None], object)], slots=Slots())
    (found,) = captured_with_warnings(net)
    assert found.lineno == (line_of(helper_that_keeps, 1) if line is None else line_of(call, line))
    assert f"{name} keeps a value that exists only inside the capture" in str(found.message)
    value = get(net)
    uses = (lambda: value + 1, lambda: f"{value:.2f}", lambda: round(value), lambda: divmod(value, 2), lambda: divmod(2, value))
    for use in uses:
        with pytest.raises(KeptValueError, match="is no value"):
            use()
    assert "a value of the capture" in f"{value}"


def test_fields_of_the_same_name_are_told_each_at_its_own_line():
    def call(m, x, t):
        m.first.n += 1
        m.second.n += 1
        HOLDER.n += 1
        m.second.other += 1
        return x

    net = Net(call, first=Holder(n=0), second=Holder(n=0, other=0))
    try:
        found = {w.lineno - line_of(call): str(w.message) for w in captured_with_warnings(net)}
    finally:
        HOLDER.n = 0
    words = {1: "`self.first.n`", 2: "`self.second.n`", 3: "global `HOLDER.n`", 4: "`self.second.other`"}
    assert found.keys() == words.keys()
    for line, word in words.items():
        assert f"{word} (test_effects.py)" in found[line] or f"{word} changed from 0 to 1 once" in found[line]


def test_a_place_is_told_once_for_all_captures_of_a_model():
    def call(m, x, t):
        print("hello")
        return x * m.alpha

    net = Net(call, alpha=1.0)
    assert len(captured_with_warnings(net)) == 1
    net.alpha = 2.0
    assert captured_with_warnings(net) == []
    assert [len(run.effects) for run in net.ledger] == [1, 1]
    assert len(captured_with_warnings(Net(call, alpha=1.0))) == 1


def two_draws(m, x, t):
    x = x + m.rng.normal()
    return x * m.rng.uniform()


def two_draws_by_numpy(m, x, t):
    x = x + np.random.rand()
    return x * np.random.uniform()


def save_an_array(m, x, t):
    np.save(m.file, np.zeros(2))
    return x


def make_a_token(m, x, t):
    secrets.token_hex()
    return x


def seed_numpy(m, x, t):
    np.random.seed(12345)
    return x


def make_folders(m, x, t):
    os.makedirs(m.file)
    return x


def count_in_a_function(m, x, t):
    helper_that_keeps.count = 1
    return x


@pytest.mark.usefixtures("_classes_restored")
@pytest.mark.parametrize(
    ("call", "lines", "words"),
    [
        (seed_numpy, [1], "`numpy.random.seed` drew once"),
        (make_folders, [1], "`os.makedirs` wrote to a file once"),
        (count_in_a_function, [1], "global `helper_that_keeps.count` (test_effects.py) changed from not set to 1"),
        (two_draws, [1, 2], "drew once"),
        (two_draws_by_numpy, [1, 2], "drew once"),
        (save_an_array, [1], "`numpy.save` wrote to a file once"),
        (make_a_token, [1], "drew once"),
    ],
)
def test_every_line_that_draws_or_writes_is_told(call, lines, words, tmp_path):
    found = captured_with_warnings(Net(call, rng=np.random.default_rng(0), file=str(tmp_path / "a.npy")))
    assert [w.lineno - line_of(call) for w in found] == lines
    assert all(words in str(w.message) for w in found)


@pytest.mark.parametrize(
    ("call", "line", "name", "get"),
    [
        (keep_in_a_list, 1, "self.log[0]", lambda m: m.log[0]),
        (keep_in_a_nested_dict, 1, "self.nested['a'][0]['last']", lambda m: m.nested["a"][0]["last"]),
        (keep_in_an_object, 1, "self.holder.last[1]", lambda m: m.holder.last[1]),
        (keep_in_an_attribute, 1, "self.last['x']", lambda m: m.last["x"]),
        (keep_in_a_global, 2, "KEPT", lambda m: KEPT),
    ],
)
def test_a_kept_value_is_told_by_name_and_its_use_is_a_clear_error(call, line, name, get):
    net = Net(call, log=[], nested={"a": [{}]}, holder=Holder(last=None))
    (found,) = captured_with_warnings(net)
    assert found.lineno == line_of(call, line)
    assert f"`{name}` keeps a value that exists only inside the capture" in str(found.message)
    value, place = get(net), f"{HERE}:{line_of(call, line)}"
    uses = (
        lambda: value + 1,
        lambda: 2 * value,
        lambda: value.shape,
        lambda: np.asarray(value),
        lambda: jnp.sum(value),
        lambda: bool(value),
    )
    for use in uses:
        with pytest.raises(KeptValueError) as caught:
            use()
        assert f"`{name}`, kept at {place}, is no value" in str(caught.value) and "Return it from `call`" in str(caught.value)
    assert name in repr(value) and place in repr(value)
    assert net.predict(np.ones((4, 3), "float32"), verbose=0).shape == (4, 3)


def test_a_value_kept_by_a_call_that_raises_is_none_either():
    def call(m, x, t):
        m.log.append(x)
        raise KeyError("no")

    net = Net(call, log=[])
    with pytest.raises(KeyError):
        net.capture((4, 3))
    with pytest.raises(KeptValueError, match=r"`self.log\[0\]`, kept at"):
        net.log[0] * 2


# ---- on_side_effect ----


def test_an_error_can_be_asked_for_and_leaves_the_model_as_it_was():
    def call(m, x, t):
        print("hello")
        m.count = 1
        return m.dense(x)

    net = Net(call, dense=layers.Dense(2))
    net.compile(optimizer="sgd", loss="mse", on_side_effect="error")
    with pytest.raises(SideEffectError) as caught:
        net.predict(np.ones((4, 3), "float32"), verbose=0)
    assert f"{HERE}:{line_of(call, 1)}: print ran once" in str(caught.value)
    assert f"{HERE}:{line_of(call, 2)}: `self.count` was assigned once" in str(caught.value)
    assert (net.built, net.dense.built, net.weights, net.graph) == (False, False, [], None)
    assert net.ledger.call_count == 1
    net.function = lambda m, x, t: m.dense(x)
    assert net.predict(np.ones((4, 3), "float32"), verbose=0).shape == (4, 2)


def change_everything(m, x, t):
    global TOTAL
    TOTAL += 1
    m.log.append(1)
    m.nested["a"][0].extend([1, 2])
    m.nested["new"] = 1
    m.holder.hits += 1
    m.holder.new = 1
    m.names.add("b")
    m.arrays[0][:] = 1.0
    m.raw[0] = 7
    m.slots.last = 2
    m.block.count = 5
    del m.gone
    m.new = m.count = 3
    Keeper.last, Keeper.new = 1, 2
    type(m).last = 1
    HOLDER.n += 1
    NOTED.append("seen")
    helper_that_keeps(1)
    helper_that_keeps.last = 1
    x = x + np.random.rand() + random.random() + m.rng.normal()
    return x


class Block(layers.Layer):
    def __init__(self):
        super().__init__()
        self.count = 0

    def call(self, x):
        return x


@pytest.mark.usefixtures("_classes_restored")
@pytest.mark.parametrize("fails", [False, True])
def test_where_a_side_effect_is_an_error_everything_is_as_it_was(fails):
    def call(m, x, t):
        x = m.block(change_everything(m, x, t))
        if fails:
            raise KeyError("no")
        return x

    slots, arrays, rng = Slots(), [np.zeros(2)], np.random.default_rng(0)
    slots.last = 0
    net = Sharing(
        call,
        log=[],
        nested={"a": [[]]},
        holder=Holder(hits=0),
        names={"a"},
        arrays=arrays,
        raw=bytearray(b"abc"),
        slots=slots,
        block=Block(),
        gone=1,
        count=0,
        rng=rng,
    )
    net.compile(on_side_effect="error")
    states = np.random.get_state(legacy=False)["state"]["key"].copy(), random.getstate(), rng.bit_generator.state
    log, nested, inner, names = net.log, net.nested, net.nested["a"][0], net.names
    with pytest.raises(KeyError if fails else SideEffectError):
        net.predict(np.ones((4, 3), "float32"), verbose=0)
    assert net.log is log and net.nested is nested and nested["a"][0] is inner and net.names is names
    assert (log, nested, vars(net.holder), names) == ([], {"a": [[]]}, {"hits": 0}, {"a"})
    assert (arrays[0].tolist(), bytes(net.raw), slots.last, net.block.count, net.gone, net.count) == ([0, 0], b"abc", 0, 0, 1, 0)
    assert not hasattr(net, "new") and not hasattr(Keeper, "new")
    assert (TOTAL, Keeper.last, Sharing.last, HOLDER.n, NOTED, vars(helper_that_keeps)) == (0, None, None, 0, [], {})
    assert helper_that_keeps.__defaults__ == ([],)
    assert (np.random.get_state(legacy=False)["state"]["key"] == states[0]).all()
    assert (random.getstate(), rng.bit_generator.state) == states[1:]


def test_side_effects_can_be_ignored_but_the_ledger_has_them(capsys):
    net = Net(lambda m, x, t: print("hello") or x)
    net.compile(on_side_effect="ignore")
    assert captured_with_warnings(net) == []
    assert [e.kind for e in net.ledger[0].effects] == ["print"]


def test_another_word_for_side_effects_is_an_error():
    with pytest.raises(ValueError, match=r"on_side_effect='raise'; expected 'warn', 'error' or 'ignore'"):
        Net(lambda m, x, t: x).compile(on_side_effect="raise")


# ---- Profilers, debuggers, threads ----


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in Python 3.12")
@pytest.mark.parametrize("taken", [(), (4,), (4, 3)])
def test_tools_of_others_stay_and_ours_is_freed(taken):
    monitoring = sys.monitoring
    before = [monitoring.get_tool(n) for n in range(6)]
    for number in taken:
        monitoring.use_tool_id(number, "another")
    try:
        found = captured_with_warnings(Net(draw_by_numpy))
        assert [monitoring.get_tool(n) for n in range(6)] == ["another" if n in taken else b for n, b in enumerate(before)]
    finally:
        for number in taken:
            monitoring.free_tool_id(number)
    assert [w.lineno for w in found] == [line_of(draw_by_numpy, 1)]  # without a tool, by the state of the generator
    assert captured_with_warnings(Net(read_the_clock)) != []


def test_an_active_profile_function_stays_in_place():
    seen = []
    profile = lambda frame, event, arg: seen.append(event)
    sys.setprofile(profile)
    try:
        captured_with_warnings(Net(read_the_clock))
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)
    captured_with_warnings(Net(read_the_clock))
    assert sys.getprofile() is None


def test_what_another_thread_does_meanwhile_is_not_told():
    began, ended = threading.Event(), threading.Event()

    def other():
        began.wait(10)
        net.log.count(1)
        read_the_clock(None, 1, None)
        print("from another thread", file=io.StringIO())
        ended.set()

    def call(m, x, t):
        began.set()
        assert ended.wait(10)
        return read_nothing(x)

    net = Net(call, log=[], function2=read_the_clock)
    thread = threading.Thread(target=other)
    thread.start()
    found = captured_with_warnings(net)
    thread.join()
    assert found == []


def read_nothing(x):
    return x


def test_captures_without_watching_compute_the_same():
    net = Net(lambda m, x, t: print("hello") or x * 2)
    watch.enabled = False
    try:
        assert captured_with_warnings(net) == []
    finally:
        watch.enabled = True
    np.testing.assert_array_equal(net.predict(np.ones((4, 3), "float32"), verbose=0), np.full((4, 3), 2.0))


def test_effects_are_part_of_the_story():
    net = Net(lambda m, x, t: print("hello") or x)
    with pytest.warns(SideEffectWarning):
        net.capture(spec(4, 3))
    assert f"Side effect at {HERE}:{line_of(net.function)}" in net.ledger.story("Net")
