"""What ``call`` read and has changed since is captured anew, and nothing else is."""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import layers
from pellucid.errors import SideEffectWarning
from pellucid.graph.ledger import Reason
from pellucid.graph.look import content
from tests.graph.helpers import Net, spec

X = np.ones((4, 3), "float32")
GLOBAL = 1.0


class Plain:
    def __init__(self, **fields):
        vars(self).update(fields)


class Slotted:
    __slots__ = ("factor",)

    def __init__(self, factor):
        self.factor = factor


@dataclasses.dataclass
class Config:
    factor: float = 1.0
    inner: object = None

    def scale(self, x):
        return x * self.factor


class Scales(layers.Layer):
    factor = 1.0

    def call(self, x):
        return x * self.factor


class Doubles(layers.Layer):
    def call(self, x):
        return x * 2


def multiply(x, by):
    return x * by


def scaling(net, path):
    """The factor that a dotted path of attributes, keys and indices leads to."""
    value = net
    for step in path.split("."):
        if isinstance(value, dict):
            value = value[step]
        elif isinstance(value, list | tuple):
            value = value[int(step)]
        else:
            value = getattr(value, step)
    return value


def replace_layer(net):
    net.block = Doubles()


def set_item(net):
    net.settings["nested"]["factors"][1] = 2.0


# name: (attributes, call's function, a change that makes it compute x * 2 instead of x * 1, words of the sentence)
CHANGES = {
    "number": ({"alpha": 1.0}, lambda m, x, t: x * m.alpha, lambda m: setattr(m, "alpha", 2.0), "`self.alpha` changed from 1.0 to 2.0"),
    "by getattr": ({"alpha": 1.0}, lambda m, x, t: x * getattr(m, "al" + "pha"), lambda m: setattr(m, "alpha", 2.0), "self.alpha"),
    "string": (
        {"how": "once"},
        lambda m, x, t: x * {"once": 1, "twice": 2}[m.how],
        lambda m: setattr(m, "how", "twice"),
        "from 'once' to 'twice'",
    ),
    "type of a number": (
        {"n": 1},
        lambda m, x, t: x * (2 if isinstance(m.n, float) else 1),
        lambda m: setattr(m, "n", 1.0),
        "from 1 to 1.0",
    ),
    "None": (
        {"alpha": None},
        lambda m, x, t: x if m.alpha is None else x * m.alpha,
        lambda m: setattr(m, "alpha", 2.0),
        "from None to 2.0",
    ),
    "list item": ({"factors": [0.0, 1.0]}, lambda m, x, t: x * m.factors[1], lambda m: m.factors.__setitem__(1, 2.0), "self.factors"),
    "list length": ({"twos": [1.0]}, lambda m, x, t: x * len(m.twos), lambda m: m.twos.append(1.0), "from [1.0] to [1.0, 1.0]"),
    "nested item": (
        {"settings": {"nested": {"factors": [0, 1.0]}}},
        lambda m, x, t: x * scaling(m, "settings.nested.factors.1"),
        set_item,
        "settings",
    ),
    "set": ({"flags": {"a"}}, lambda m, x, t: x * len(m.flags), lambda m: m.flags.add("b"), "self.flags"),
    "field": (
        {"config": Plain(factor=1.0)},
        lambda m, x, t: x * m.config.factor,
        lambda m: setattr(m.config, "factor", 2.0),
        "self.config",
    ),
    "nested field": (
        {"config": Plain(inner=Plain(factor=1.0))},
        lambda m, x, t: x * m.config.inner.factor,
        lambda m: setattr(m.config.inner, "factor", 2.0),
        "self.config",
    ),
    "dataclass": ({"config": Config()}, lambda m, x, t: x * m.config.factor, lambda m: setattr(m.config, "factor", 2.0), "self.config"),
    "replaced layer": ({"block": Scales()}, lambda m, x, t: m.block(x), replace_layer, "self.block"),
    "function": ({"f": lambda x: x}, lambda m, x, t: m.f(x), lambda m: setattr(m, "f", lambda x: x * 2), "self.f"),
    "attribute of a nested layer": (
        {"block": Scales()},
        lambda m, x, t: m.block(x),
        lambda m: setattr(m.block, "factor", 2.0),
        "block.factor",
    ),
    "numpy array replaced": ({"by": np.float32(1)}, lambda m, x, t: x * m.by, lambda m: setattr(m, "by", np.float32(2)), "self.by"),
    "deleted": ({"factor": 1.0}, lambda m, x, t: x * getattr(m, "factor", 2.0), lambda m: delattr(m, "factor"), "deleted"),
    "namespace": (
        {"config": types.SimpleNamespace(factor=1.0)},
        lambda m, x, t: x * m.config.factor,
        lambda m: setattr(m.config, "factor", 2.0),
        "self.config",
    ),
}


@pytest.fixture(autouse=True)
def _restored():
    yield
    if "factor" in vars(Scales):
        Scales.factor = 1.0


def check_change(net, change, words, reason=Reason.ATTRIBUTE):
    np.testing.assert_array_equal(net.predict(X, verbose=0), X)
    change(net)
    np.testing.assert_array_equal(net.predict(X, verbose=0), X * 2)
    assert [run.reason for run in net.ledger] == [Reason.FIRST, reason]
    assert words in net.ledger[1].sentence
    net.predict(X, verbose=0)
    assert net.ledger.call_count == 2


@pytest.mark.parametrize(("attributes", "function", "change", "words"), CHANGES.values(), ids=CHANGES)
def test_a_changed_attribute_that_call_read_is_noticed(attributes, function, change, words):
    net = Net(function)
    for name, value in attributes.items():
        object.__setattr__(net, name, value) if isinstance(value, np.generic) else setattr(net, name, value)
    check_change(net, change, words)


def test_a_changed_class_attribute_is_noticed():
    net = Net(lambda m, x, t: m.block(x), block=Scales())
    check_change(net, lambda m: setattr(Scales, "factor", 2.0), "block.factor")


def locked(array):
    view = array[:]
    view.flags.writeable = False
    return view


BASE, BROADCAST = np.ones(3, "float32"), np.ones(1, "float32")


class Group:
    class Inner:
        factor = 1.0


def deep(levels, value):
    for _ in range(levels):
        value = [value]
    return value


def deepest(value):
    while isinstance(value, list):
        value = value[0]
    return value


def set_deepest(value):
    while isinstance(value[0], list):
        value = value[0]
    value[0] = 2.0


SEEN_INSIDE = {
    "field of slots": ({"config": Slotted(1.0)}, lambda m, x, t: x * m.config.factor, lambda m: setattr(m.config, "factor", 2.0)),
    "partial": (
        {"f": functools.partial(multiply, by=1.0)},
        lambda m, x, t: m.f(x),
        lambda m: setattr(m, "f", functools.partial(multiply, by=2.0)),
    ),
    "owner of a bound method": (
        {"f": Config(1.0).scale},
        lambda m, x, t: m.f(x),
        lambda m: setattr(m.f.__self__, "factor", 2.0),
    ),
    "field in a method's owner in a list": (
        {"fs": [Config(1.0).scale]},
        lambda m, x, t: m.fs[0](x),
        lambda m: setattr(m.fs[0].__self__, "factor", 2.0),
    ),
    "class inside a class": (
        {"config": Group},
        lambda m, x, t: x * m.config.Inner.factor,
        lambda m: setattr(Group.Inner, "factor", 2.0),
    ),
    "ten levels of lists": ({"deep": deep(10, 1.0)}, lambda m, x, t: x * deepest(m.deep), lambda m: set_deepest(m.deep)),
    "item of a long list": (
        {"long": [1.0] * 5000},
        lambda m, x, t: x * m.long[4000],
        lambda m: m.long.__setitem__(4000, 2.0),
    ),
    "item of a long dict": (
        {"long": dict.fromkeys(range(5000), 1.0)},
        lambda m, x, t: x * m.long[4000],
        lambda m: m.long.update({4000: 2.0}),
    ),
    "item of a list in a long list": (
        {"long": [[1.0] for _ in range(5000)]},
        lambda m, x, t: x * m.long[4000][0],
        lambda m: m.long[4000].__setitem__(0, 2.0),
    ),
    "bytes of a bytearray": ({"raw": bytearray(b"\1")}, lambda m, x, t: x * m.raw[0], lambda m: m.raw.__setitem__(0, 2)),
    "array of objects": (
        {"by": np.array([1.0, None], object)},
        lambda m, x, t: x * m.by[0],
        lambda m: m.by.__setitem__(0, 2.0),
    ),
    "view that cannot be written to": (
        {"by": [locked(BASE)]},
        lambda m, x, t: x * m.by[0][0],
        lambda m: BASE.fill(2.0),
    ),
    "array that was broadcast": (
        {"by": [np.broadcast_to(BROADCAST, (4, 2**40))]},
        lambda m, x, t: x * m.by[0][0, 7],
        lambda m: BROADCAST.fill(2.0),
    ),
    "mapping of the library's": (
        {"by": collections.UserDict(factor=1.0)},
        lambda m, x, t: x * m.by["factor"],
        lambda m: m.by.update(factor=2.0),
    ),
    "content of a numpy array": ({"by": [np.ones(1, "float32")]}, lambda m, x, t: x * m.by[0], lambda m: m.by[0].fill(2.0)),
}


@pytest.mark.parametrize(("attributes", "function", "change"), SEEN_INSIDE.values(), ids=SEEN_INSIDE)
def test_changes_inside_less_common_objects_are_noticed(attributes, function, change):
    net = Net(function)
    for name, value in attributes.items():
        setattr(net, name, value)
    check_change(net, change, "self.")


def test_a_changed_item_of_a_long_list_is_named():
    net = Net(lambda m, x, t: x * m.long[4000], long=[1.0] * 5000)
    check_change(net, lambda m: m.long.__setitem__(4000, 2.0), "`self.long[4000]` changed from 1.0 to 2.0")


def test_an_object_that_a_class_of_layers_has_is_looked_into():
    class Configured(Net):
        config = Config(1.0)

    net = Configured(lambda m, x, t: x * m.config.factor)
    check_change(net, lambda m: setattr(Configured.config, "factor", 2.0), "`self.config.factor` changed from 1.0 to 2.0")


class Descriptor:
    def __init__(self, factor):
        self.factor = factor

    def __get__(self, instance, owner=None):
        return self.factor


class Meta(type):
    of_meta = 1.0


class General:
    inherited = 1.0

    def go(self, x):
        return x


class Special(General, metaclass=Meta):
    pass


class Classy(Net):
    factors = [1.0]
    described = Descriptor(1.0)

    @classmethod
    def by_class(cls, x):
        return x * cls.factors[0]


# name: (call's function, what is changed: an object, an attribute of it, its new value)
OF_CLASSES = {
    "constant of a base, read from an object": (lambda m, x, t: x * m.special.inherited, lambda: (General, "inherited", 2.0)),
    "constant of a metaclass": (lambda m, x, t: x * Special.of_meta, lambda: (Meta, "of_meta", 2.0)),
    "method of an object's class": (lambda m, x, t: m.special.go(x), lambda: (General, "go", lambda self, x: x * 2)),
    "list of the layer's class, by a class method": (lambda m, x, t: m.by_class(x), lambda: (Classy, "factors", [2.0])),
    "list of the layer's class, by its type": (lambda m, x, t: x * type(m).factors[0], lambda: (Classy, "factors", [2.0])),
    "what a descriptor of the layer's class holds": (
        lambda m, x, t: x * m.described,
        lambda: (vars(Classy)["described"], "factor", 2.0),
    ),
}


@pytest.mark.parametrize(("function", "change"), OF_CLASSES.values(), ids=OF_CLASSES)
def test_what_classes_hold_is_noticed_when_it_changes(function, change, monkeypatch):
    owner, name, _ = change()
    net = Classy(function, special=Special())
    check_change(net, lambda m: monkeypatch.setattr(*change()), name)


def test_an_environment_variable_that_call_reads_is_noticed(monkeypatch):
    monkeypatch.delenv("FACTOR_OF_X", raising=False)
    net = Net(lambda m, x, t: x * float(os.environ.get("FACTOR_OF_X", "1")))
    monkeypatch.setenv("ANOTHER_FACTOR", "3")
    check_change(net, lambda m: monkeypatch.setenv("FACTOR_OF_X", "2"), "environment variable `FACTOR_OF_X`")


ABSENT = {
    "getattr with a default": lambda m, x, t: x * getattr(m, "factor", 1.0),
    "hasattr": lambda m, x, t: x * 2 if hasattr(m, "factor") else x,
    "the dict of the layer": lambda m, x, t: x * vars(m).get("factor", 1.0),
}


@pytest.mark.parametrize("function", ABSENT.values(), ids=ABSENT)
def test_an_attribute_that_call_looked_for_in_vain_is_noticed_when_it_comes(function):
    check_change(Net(function), lambda m: setattr(m, "factor", 2.0), "factor")


def test_a_name_that_a_getattr_of_the_users_answers_makes_no_endless_captures():
    class Answers(Net):
        def __getattr__(self, name):
            if name == "factor":
                return vars(self).get("hidden", 1.0)
            raise AttributeError(name)

    net = Answers(lambda m, x, t: x * m.factor)
    for _ in range(3):
        np.testing.assert_array_equal(net.predict(X, verbose=0), X)
    assert net.ledger.call_count == 1


def test_a_property_is_guarded_by_what_it_reads():
    class WithProperty(Net):
        @property
        def factor(self):
            return self.hidden

    net = WithProperty(lambda m, x, t: x * m.factor, hidden=1.0)
    check_change(net, lambda m: setattr(m, "hidden", 2.0), "`self.hidden` changed from 1.0 to 2.0")


@pytest.mark.parametrize("where", ["global", "cell"])
def test_changed_globals_and_closure_cells_are_noticed(where, monkeypatch):
    cell = 1.0
    net = Net((lambda m, x, t: x * GLOBAL) if where == "global" else (lambda m, x, t: x * cell))
    np.testing.assert_array_equal(net.predict(X, verbose=0), X)
    monkeypatch.setitem(globals(), "GLOBAL", 2.0)
    cell = 2.0
    np.testing.assert_array_equal(net.predict(X, verbose=0), X * 2)


SETTINGS = types.ModuleType("settings_of_the_user")
SETTINGS.factor, SETTINGS.unread = 1.0, 1.0  # type: ignore[attr-defined]
TABLE = {"factors": [0.0, 1.0]}
CONFIG = Config()


class Constants:
    factor = 1.0
    unread = 1.0


def by_helper(x):
    return x * GLOBAL


def chosen(x):
    return x


def doubled(x):
    return x * 2


def scaled_by(factor):
    def scale(x):
        return x * factor["value"]

    return scale


def with_default(x, factor={"value": 1.0}):  # noqa: B006
    return x * factor["value"]


with_default.factor = 1.0


def with_keyword(x, *, factor=1.0):
    return x * factor


IN_CELL = {"value": 1.0}
SCALE = scaled_by(IN_CELL)

# name: (call's function, a change, words of the sentence, or None where it has no other value to tell)
NAMED_BY_CODE = {
    "global": (
        lambda m, x, t: x * GLOBAL,
        lambda: globals().update(GLOBAL=2.0),
        "global `GLOBAL` (test_guards.py) changed from 1.0 to 2.0",
    ),
    "global of a helper": (lambda m, x, t: by_helper(x), lambda: globals().update(GLOBAL=2.0), "global `GLOBAL` (test_guards.py)"),
    "global in a lambda under vmap": (lambda m, x, t: jax.vmap(lambda r: r * GLOBAL)(x), lambda: globals().update(GLOBAL=2.0), "`GLOBAL`"),
    "global function": (
        lambda m, x, t: chosen(x),
        lambda: globals().update(chosen=doubled),
        "global `chosen` (test_guards.py) changed from",
    ),
    "item of a global": (
        lambda m, x, t: x * TABLE["factors"][1],
        lambda: TABLE["factors"].__setitem__(1, 2.0),
        "global `TABLE['factors'][1]` (test_guards.py) changed from 1.0 to 2.0",
    ),
    "value of a module": (
        lambda m, x, t: x * SETTINGS.factor,
        lambda: setattr(SETTINGS, "factor", 2.0),
        "global `SETTINGS.factor` (test_guards.py) changed from 1.0 to 2.0",
    ),
    "constant of a class": (
        lambda m, x, t: x * Constants.factor,
        lambda: setattr(Constants, "factor", 2.0),
        "global `Constants.factor` (test_guards.py) changed from 1.0 to 2.0",
    ),
    "field of a global": (
        lambda m, x, t: x * CONFIG.factor,
        lambda: setattr(CONFIG, "factor", 2.0),
        "global `CONFIG.factor` (test_guards.py) changed from 1.0 to 2.0",
    ),
    "inside a closure variable of a global function": (
        lambda m, x, t: SCALE(x),
        lambda: IN_CELL.update(value=2.0),
        "closure variable `factor['value']` (test_guards.py) changed from 1.0 to 2.0",
    ),
    "item of a default": (
        lambda m, x, t: with_default(x),
        lambda: with_default.__defaults__[0].update(value=2.0),
        "default `factor['value']` of with_default (test_guards.py) changed from 1.0 to 2.0",
    ),
    "replaced defaults": (
        lambda m, x, t: with_default(x),
        lambda: setattr(with_default, "__defaults__", ({"value": 2.0},)),
        "default `factor['value']` of with_default (test_guards.py) changed from 1.0 to 2.0",
    ),
    "default by keyword": (
        lambda m, x, t: with_keyword(x),
        lambda: with_keyword.__kwdefaults__.update(factor=2.0),
        "default `factor` of with_keyword (test_guards.py) changed from 1.0 to 2.0",
    ),
    "attribute of a function": (
        lambda m, x, t: x * with_default.factor,
        lambda: setattr(with_default, "factor", 2.0),
        "global `with_default.factor` (test_guards.py) changed from 1.0 to 2.0",
    ),
    "method of the layer's class": (lambda m, x, t: m.block(x), lambda: setattr(Scales, "call", Doubles.call), "block.call"),
}


@pytest.fixture
def _everything_restored():
    before = dict(globals())
    yield
    globals().update(before)
    TABLE["factors"][1] = IN_CELL["value"] = SETTINGS.factor = Constants.factor = CONFIG.factor = 1.0
    SETTINGS.unread = Constants.unread = 1.0
    with_default.__defaults__ = ({"value": 1.0},)
    with_keyword.__kwdefaults__["factor"] = with_default.factor = 1.0


_SCALES_CALL = Scales.call


@pytest.mark.usefixtures("_everything_restored")
@pytest.mark.parametrize(("function", "change", "words"), NAMED_BY_CODE.values(), ids=NAMED_BY_CODE)
def test_what_the_code_names_is_noticed_when_it_changes(function, change, words):
    net = Net(function, block=Scales())
    try:
        check_change(net, lambda m: change(), words)
    finally:
        Scales.call = _SCALES_CALL


@pytest.mark.usefixtures("_everything_restored")
@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(SETTINGS, "unread", 2.0),
        lambda m: setattr(SETTINGS, "new_one", 2.0),
        lambda m: setattr(Constants, "unread", 2.0),
        lambda m: setattr(m.config, "unread", 2.0),
        lambda m: setattr(m.config, "new_one", 2.0),
        lambda m: globals().update(GLOBAL=2.0),
        lambda m: globals().update(NEVER_SEEN=2.0),
        lambda m: TABLE.update(factors=[0.0, 1.0]),
    ],
)
def test_fields_and_globals_that_the_code_does_not_name_make_no_new_capture(change):
    def call(m, x, t):
        return x * SETTINGS.factor * Constants.factor * m.config.factor * TABLE["factors"][1]

    net = Net(call, config=Plain(factor=1.0, unread=1.0))
    for _ in range(3):
        net.predict(X, verbose=0)
        change(net)
    assert net.ledger.call_count == 1


def test_the_sentence_names_the_line_that_assigned_the_attribute():
    net = Net(lambda m, x, t: m.block(x) * m.alpha, alpha=0.5, block=Scales())
    net.predict(X, verbose=0)
    net.block.factor = 3.0
    net.alpha = 0.9
    net.predict(X, verbose=0)
    line = test_the_sentence_names_the_line_that_assigned_the_attribute.__code__.co_firstlineno
    assert f"`self.alpha` changed from 0.5 to 0.9 at test_guards.py:{line + 4}" in net.ledger[1].sentence
    assert f"`block.factor` changed from 1.0 to 3.0 at test_guards.py:{line + 3}" in net.ledger[1].sentence


@pytest.mark.parametrize("size", [3, 100_003])
def test_the_content_of_an_array_is_looked_at_in_the_next_epoch(size):
    class Shifted(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.out, self.tables = layers.Dense(1), [np.zeros(size, "float32")]

        def call(self, x):
            return self.out(x) * 0 + self.tables[0][-1]

    class Write(pellucid.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                self.model.tables[0][-1] = 3.0

    model = Shifted()
    model.compile(optimizer="sgd", loss="mse")
    losses = model.fit(np.ones((8, 3)), np.ones((8, 1)), batch_size=4, epochs=4, verbose=0, callbacks=[Write()]).history["loss"]
    assert losses == [1.0, 1.0, 4.0, 4.0]
    assert model.ledger.call_count == 2
    assert "the content of `self.tables[0]` changed" in model.ledger[1].sentence


def test_what_a_dispatch_compares_does_not_grow_with_the_number_of_layers():
    def compared(count):
        net = Net(lambda m, x, t: [x := block(x) for block in m.blocks][-1], blocks=[Scales() for _ in range(count)])
        together = net.capture((4, 3)).guards._together
        return len(together.fields) + len(together.lengths) + len(together.items)

    assert compared(50) == compared(2) < 15


# ---- What is no change ----

NO_CHANGES = {
    "an attribute that call never reads": lambda m: setattr(m, "unread", 2.0),
    "a new attribute": lambda m: setattr(m, "new", 1),
    "the same value again": lambda m: setattr(m, "alpha", 1.0),
    "an equal list": lambda m: setattr(m, "factors", [1.0, 2.0]),
    "a weight's value": lambda m: m.block.kernel.assign(np.zeros((3, 3))),
    "an attribute of another layer": lambda m: setattr(Scales(), "factor", 7.0),
    "an attribute that only build reads": lambda m: setattr(m.block, "kernel_initializer", "zeros"),
}


@pytest.mark.parametrize("change", NO_CHANGES.values(), ids=NO_CHANGES)
def test_what_call_did_not_read_makes_no_new_capture(change):
    net = Net(lambda m, x, t: m.block(x) * m.alpha + m.factors[0], alpha=1.0, factors=[1.0, 2.0], unread=1.0, block=layers.Dense(3))
    net.predict(X, verbose=0)
    change(net)
    net.predict(X, verbose=0)
    assert net.ledger.call_count == 1


def test_a_change_back_finds_the_graph_or_captures_once_more_but_is_right():
    net = Net(lambda m, x, t: x * m.alpha, alpha=1.0)
    for alpha in (1.0, 2.0, 1.0, 2.0):
        net.alpha = alpha
        np.testing.assert_array_equal(net.predict(X, verbose=0), X * alpha)


def test_an_attribute_that_call_itself_writes_is_captured_once_with_a_warning():
    def call(m, x, t):
        m.count = m.count + 1
        return x * 2

    net = Net(call, count=0)
    with pytest.warns(SideEffectWarning, match=r"`self.count` was assigned once, while `call` was captured"):
        net.predict(X, verbose=0)
    for _ in range(2):
        net.predict(X, verbose=0)
    assert net.count == 1
    assert net.ledger.call_count == 1


def test_an_attribute_of_each_call_is_no_reason_for_a_capture_in_fit():
    class Counting(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.out, self.calls, self.cache = layers.Dense(1), 0, {}

        def call(self, x):
            self.calls += 1
            self.cache["last"] = self.calls
            return self.out(x)

    model = Counting()
    model.compile(optimizer="sgd", loss="mse")
    with pytest.warns(SideEffectWarning):
        model.fit(np.ones((10, 3)), np.ones((10, 1)), batch_size=4, epochs=2, verbose=0)
    assert (model.calls, model.ledger.call_count) == (1, 1)


@pytest.mark.parametrize("change", [False, True])
def test_a_callback_that_changes_an_attribute_in_fit_is_heard(change):
    class Scaled(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.out, self.alpha = layers.Dense(1), 1.0

        def call(self, x):
            return self.out(x) * self.alpha

    class Change(pellucid.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if change and epoch == 1:
                self.model.alpha = 0.0

    model = Scaled()
    model.compile(optimizer="sgd", loss="mse")
    history = model.fit(np.ones((8, 3)), np.ones((8, 1)), batch_size=4, epochs=4, verbose=0, callbacks=[Change()])
    assert model.ledger.call_count == 1 + change
    losses = history.history["loss"]
    assert (losses[2] == losses[3] == 1.0) == change


# ---- A model that builds itself ----


@pytest.mark.parametrize(
    "first", [lambda m: m.build((None, 3)), lambda m: m(X), lambda m: m.predict(X, verbose=0)], ids=["build", "call", "predict"]
)
def test_a_build_that_ends_in_super_build_is_usual_and_works(first):
    class Usual(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.alpha = layers.Dense(2), 1.0

        def build(self, input_shape):
            self.w = self.add_weight((2,), "ones", name="w")
            super().build(input_shape)

        def call(self, x):
            return self.dense(x) * self.w * self.alpha

    model = Usual()
    first(model)
    assert len(model.weights) == 3
    before = model.predict(X, verbose=0)
    model.alpha = 2.0
    np.testing.assert_allclose(model.predict(X, verbose=0), before * 2, rtol=1e-6)


# ---- Contents ----


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        ([1], (1,)),
        ({"a": 1}, {"a": 2}),
        ("1", 1),
        (None, 0),
        ({1}, {2}),
        (Config(1.0), Config(2.0)),
        (np.zeros(2), np.zeros(2)),
    ],
)
def test_contents_of_different_values_differ(one, other):
    assert content(one) != content(other)


@pytest.mark.parametrize(
    "make", [lambda: 1, lambda: [1, {"a": (2, None)}], lambda: Config(2.0, [1]), lambda: Plain(a=Plain(b=1)), lambda: {"x", "y"}]
)
def test_contents_of_equal_values_are_equal(make):
    assert content(make()) == content(make())


def test_contents_of_cycles_and_of_large_containers_end():
    ring: list = []
    ring.append(ring)
    assert content(ring) == content(ring)
    large = list(range(5000))
    assert content(large) == content(large)
    assert content(large) != content(list(range(5000)))


def test_contents_of_an_object_that_holds_itself_are_equal():
    plain = Plain()
    plain.itself = plain
    assert content(plain) == content(plain)


@pytest.mark.parametrize("depth", [3, 4])
def test_deeply_nested_objects_make_no_capture_for_each_dispatch(depth):
    config = Plain(factor=2.0)
    for _ in range(depth):
        config = Plain(inner=config)
    net = Net(lambda m, x, t: x * scaling(m, "config" + ".inner" * depth + ".factor"), config=config)
    for _ in range(3):
        net.predict(X, verbose=0)
    assert net.ledger.call_count == 1


def test_a_capture_of_one_model_is_not_guarded_by_another():
    shared = Scales()
    one, other = Net(lambda m, x, t: m.s(x), s=shared), Net(lambda m, x, t: x * 3)
    for net in (one, other):
        net.capture(spec(4, 3))
    shared.factor = 2.0
    for net in (one, other):
        net.capture(spec(4, 3))
    assert (one.ledger.call_count, other.ledger.call_count) == (2, 1)
    np.testing.assert_array_equal(one.graph.run(jnp.asarray(X), False)[0], X * 2)
