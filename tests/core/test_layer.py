"""Layers: building, weights, modes, errors, names, config."""

from __future__ import annotations

import dataclasses
import functools
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import layers
from pellucid.core import frame
from pellucid.core.layer import _depth, _training, training_context
from pellucid.errors import NotBuiltError
from pellucid.layers import Dense, Layer
from tests.graph.helpers import Net, normal

X = normal(4, 3)


class Scale(Layer):
    def __init__(self, units=3, **layer_args):
        super().__init__(**layer_args)
        self.units = units

    def build(self, input_shape):
        self.seen_shape = input_shape
        self.w = self.add_weight((input_shape[-1],), "ones", name="w")

    def call(self, x):
        return x * self.w


class Block(Layer):
    """Two layers in a list and one of its own weights, without a build of nested layers."""

    def __init__(self, **layer_args):
        super().__init__(**layer_args)
        self.parts = [Dense(4, activation="relu"), Dense(3)]

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x


# ---- Building ----


def test_a_layer_is_built_by_its_first_inputs():
    layer = Scale()
    assert not layer.built and layer.weights == []
    np.testing.assert_array_equal(layer(X), X)
    assert layer.built and layer.seen_shape == (4, 3) and layer.w.shape == (3,)
    layer(normal(7, 3))
    assert len(layer.weights) == 1


def test_in_a_capture_build_sees_no_batch_size():
    net = Net(lambda m, x, t: m.scale(x), scale=Scale())
    net.predict(X, verbose=0)
    assert net.scale.seen_shape == (None, 3)


@pytest.mark.parametrize("make", [Block, lambda: Net(lambda m, x, t: m.block(x), block=Block())], ids=["layer", "model"])
def test_build_makes_the_weights_of_nested_layers_without_computing(make):
    layer = make()
    layer.build((None, 3))
    assert layer.built
    assert [v.shape for v in layer.weights] == [(3, 4), (4,), (4, 3), (3,)]
    weights = layer.get_weights()
    assert layer(X).shape == (4, 3)
    for before, after in zip(weights, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_build_by_hand_then_calls_make_no_second_weights():
    layer = Scale()
    layer.build((None, 3))
    layer(X)
    assert len(layer.weights) == 1


@pytest.mark.parametrize("base", [Layer, pellucid.Model])
def test_build_of_a_class_with_an_own_build_makes_nested_weights_too(base):
    class Own(base):
        def __init__(self):
            super().__init__()
            self.dense = Dense(2)

        def build(self, input_shape):
            self.w = self.add_weight((3,), "ones", name="w")

        def call(self, x):
            return self.dense(x * self.w)

    layer = Own()
    layer.build((None, 3))
    assert len(layer.weights) == 3


def test_a_layers_build_may_end_in_super_build():
    class Usual(Layer):
        def __init__(self):
            super().__init__()
            self.dense = Dense(2)

        def build(self, input_shape):
            self.w = self.add_weight((3,), "ones", name="w")
            super().build(input_shape)

        def call(self, x):
            return self.dense(x * self.w)

    layer = Usual()
    layer.build((None, 3))
    assert len(layer.weights) == 3


def test_super_build_of_a_layer_without_nested_ones_is_fine():
    class Usual(Scale):
        def build(self, input_shape):
            super().build(input_shape)
            self.b = self.add_weight((3,), "zeros", name="b")

    for first in (lambda layer: layer.build((None, 3)), lambda layer: layer(X)):
        layer = Usual()
        first(layer)
        assert [v.path for v in layer.weights] == [f"{layer.name}/w", f"{layer.name}/b"]


def test_a_build_that_fails_leaves_no_weights_and_no_attributes():
    class Failing(Layer):
        fails = True

        def build(self, input_shape):
            self.w = self.add_weight((3,), name="w")
            self.note = "half built"
            if self.fails:
                raise OSError("disk full")

        def call(self, x):
            return x * self.w

    layer = Failing()
    for attempt in (lambda: layer(X), lambda: layer.build((None, 3))):
        with pytest.raises(OSError, match="disk full"):
            attempt()
        assert not layer.built and layer.weights == [] and not hasattr(layer, "w") and not hasattr(layer, "note")
    layer.fails = False
    assert layer(X).shape == (4, 3)


def test_build_takes_a_shape_for_each_argument_of_call():
    class Two(Layer):
        def build(self, query_shape, value_shape):
            self.shapes = query_shape, value_shape

        def call(self, query, value, mask=None):
            return query + value.sum()

    layer = Two()
    layer(X, value=normal(4, 5))
    assert layer.shapes == ((4, 3), (4, 5))


def test_build_takes_structures_of_shapes():
    class OfDict(Layer):
        def build(self, input_shape):
            self.shapes = input_shape

        def call(self, x):
            return x["a"]

    layer = OfDict()
    layer({"a": X, "b": [normal(4, 2), None]})
    assert layer.shapes == {"a": (4, 3), "b": [(4, 2), None]}


def test_threads_build_a_layer_once():
    builds = []

    class Slow(Scale):
        def build(self, input_shape):
            builds.append(threading.get_ident())
            super().build(input_shape)

    layer, barrier = Slow(), threading.Barrier(4)

    def call():
        barrier.wait()
        layer(X)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(builds) == 1


# ---- Weights ----


@dataclasses.dataclass
class Parts:
    first: object
    rest: tuple = ()


def places():
    a, b, c, d, e, f = (Dense(1, name=n) for n in "abcdef")
    net = Net(lambda m, x, t: sum(layer(x) for layer in (a, b, c, d, e, f)))
    net.one, net.several, net.by_name, net.pair = a, [b, {"deep": c}], {"key": d}, (e, "text", None)
    net.parts = Parts(f, (a,))
    return net, (a, b, c, d, e, f)


def test_nested_layers_are_found_in_attributes_lists_dicts_tuples_and_dataclasses():
    net, parts = places()
    assert net._flatten_layers()[1:] == list(parts)
    net.build((None, 2))
    assert [v.path for v in net.weights] == [f"{n}/{w}" for n in "abcdef" for w in ("kernel", "bias")]


def test_layers_added_to_a_list_later_are_found_too():
    net = Net(lambda m, x, t: x, blocks=[])
    net.blocks.append(Scale())
    net.blocks[0](X)
    assert [v.path for v in net.weights] == ["blocks/0/w"]


def test_a_layer_held_twice_counts_once():
    shared = Scale()
    net = Net(lambda m, x, t: m.a(m.b[0](x)), a=shared, b=[shared])
    net(X)
    assert net.weights == shared.weights and len(net.weights) == 1
    assert net.count_params() == 3


def test_a_layer_that_knows_its_parent_is_no_endless_walk():
    net = Net(lambda m, x, t: m.child(x), child=Scale())
    net.child.parent = net
    net(X)
    assert net.weights == [net.child.w]
    net.trainable = False
    assert net.trainable_weights == []


def test_weights_come_trainable_first_own_before_nested_in_the_order_of_attributes():
    class Mixed(Layer):
        def __init__(self):
            super().__init__()
            self.inner = layers.BatchNormalization()
            self.direct = pellucid.Variable(1.0, name="direct")

        def build(self, input_shape):
            self.state = self.add_weight((), "zeros", trainable=False, name="state")
            self.w = self.add_weight((3,), "ones", name="w")

        def call(self, x):
            return self.inner(x * self.w * self.direct)

    layer = Mixed()
    layer(X)
    names = [v.path for v in layer.weights]
    own, nested = ["w", "direct", "state"], ["gamma", "beta", "moving_mean", "moving_variance"]
    assert names == [f"mixed/{n}" for n in own] + [f"inner/{n}" for n in nested]
    assert [v.path for v in layer.non_trainable_weights] == [names[i] for i in (2, 5, 6)]
    assert set(layer.trainable_weights) | set(layer.non_trainable_weights) == set(layer.weights)


def test_states_of_random_generators_are_variables_but_no_weights():
    net = Net(lambda m, x, t: m.dropout(x))
    net.dropout = layers.Dropout(0.5)
    assert net.weights == [] and len(net.variables) == 1
    assert net.variables[0].path == "dropout/seed_generator_state"


def test_freezing_reaches_nested_layers_and_thawing_too():
    net = Net(lambda m, x, t: m.block(x), block=Block(), own=normal(3))
    net.build((None, 3))
    assert len(net.trainable_weights) == 5
    net.block.trainable = False
    assert net.trainable_weights == [net.own]
    assert not net.block.parts[0].trainable
    net.block.parts[1].trainable = True
    assert [v.path for v in net.trainable_weights] == [
        "own" if net.own.path == "own" else net.own.path,
        "block/parts/1/kernel",
        "block/parts/1/bias",
    ]
    net.trainable = False
    assert net.trainable_weights == [] and len(net.non_trainable_weights) == len(net.weights) == 5
    net.trainable = True
    assert len(net.trainable_weights) == 5


def test_a_layer_frozen_before_it_is_built_stays_frozen():
    layer = Scale(trainable=False)
    layer(X)
    assert layer.trainable_weights == [] and layer.non_trainable_weights == [layer.w]


def test_frozen_weights_do_not_change_in_training():
    net = Net(lambda m, x, t: m.out(m.block(x)), block=Block(), out=Dense(1))
    net.build((None, 3))
    net.block.trainable = False
    net.compile(optimizer="sgd", loss="mse")
    frozen, free = net.block.get_weights(), net.out.get_weights()
    net.fit(X, normal(4, 1), verbose=0)
    for before, after in zip(frozen, net.block.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert not np.array_equal(free[0], net.out.get_weights()[0])


def test_get_and_set_weights_copy_both_ways():
    layer = Block()
    layer.build((None, 3))
    given = [normal(*w.shape, seed=5) for w in layer.get_weights()]
    layer.set_weights(given)
    taken = layer.get_weights()
    given[0][:] = 0
    taken[1][:] = 9
    np.testing.assert_array_equal(layer.get_weights()[0], normal(3, 4, seed=5))
    np.testing.assert_array_equal(layer.get_weights()[1], normal(4, seed=5))
    layer.set_weights([w.tolist() for w in layer.get_weights()])
    assert layer.parts[0].kernel.dtype == "float32"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w[:-1], r"got 3 arrays; expected 4"),
        (lambda w: [*w, w[0]], r"got 5 arrays; expected 4"),
        (lambda w: [*w[:-1], np.zeros(7)], r"parts/1/bias' got an array of shape \(7,\); expected \(3,\)"),
        (lambda w: [w[0], w[1], w[2].T, w[3]], r"parts/1/kernel' got an array of shape \(3, 4\); expected \(4, 3\)"),
    ],
    ids=["too few", "too many", "wrong shape", "transposed"],
)
def test_weights_that_do_not_fit_are_refused_and_none_is_set(change, words):
    layer = Block()
    layer.build((None, 3))
    before = layer.get_weights()
    with pytest.raises(ValueError, match=words):
        layer.set_weights(change([w + 1 for w in before]))
    for a, b in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_setting_weights_before_they_exist_says_so():
    with pytest.raises(ValueError, match="got 1 arrays; expected 0. It has no weights yet: call it on data, or build it"):
        Scale().set_weights([np.ones(3)])


def test_counting_before_building_says_so():
    with pytest.raises(NotBuiltError, match="'scale' has no weights yet"):
        Scale().count_params()


# ---- add_weight ----


@pytest.mark.parametrize("shape", [(None, 3), (3, None), (-1,), (2.5,), ("3",)])
def test_a_shape_that_is_not_fixed_is_refused_with_the_cure(shape):
    with pytest.raises(ValueError, match=r"add_weight\('w'\) in layer 'scale': shape=.* is not fixed.*input_shape\[-1\]"):
        Scale().add_weight(shape, name="w")


def test_the_batch_is_no_size_of_a_weight():
    class OfBatch(Layer):
        def build(self, input_shape):
            self.w = self.add_weight(input_shape, name="w")

        def call(self, x):
            return x * self.w

    with pytest.raises(ValueError, match=r"'w'.*'of_batch'.*None, such as the batch"):
        OfBatch().build((None, 3))


def test_an_unknown_initializer_or_dtype_suggests_the_nearest():
    with pytest.raises(ValueError, match="'glorot_unifrom'.*Did you mean 'glorot_uniform'"):
        Scale().add_weight((2,), "glorot_unifrom")
    with pytest.raises(ValueError, match="'flot32'.*Did you mean 'float32'"):
        Scale().add_weight((2,), dtype="flot32")


INITIALIZERS = {
    "name": ("ones", np.ones((2, 3))),
    "number": (0.5, np.full((2, 3), 0.5)),
    "array": (np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3)),
    "row": (np.arange(3.0), np.tile(np.arange(3.0), (2, 1))),
    "jax array": (jnp.ones((2, 3)), np.ones((2, 3))),
    "callable": (lambda shape, dtype: np.full(shape, 7, dtype), np.full((2, 3), 7.0)),
    "lambda with keyword": (lambda shape, dtype=None: jnp.zeros(shape, dtype), np.zeros((2, 3))),
    "zeros object": (pellucid.initializers.Zeros(), np.zeros((2, 3))),
}


@pytest.mark.parametrize(("initializer", "expected"), INITIALIZERS.values(), ids=INITIALIZERS)
def test_initial_values(initializer, expected):
    w = Scale().add_weight((2, 3), initializer)
    np.testing.assert_array_equal(w.numpy(), expected.astype("float32"))


def test_defaults_of_add_weight():
    layer = Scale(dtype="float16")
    w = layer.add_weight((64, 64))
    assert (w.dtype, w.trainable, w.shape) == ("float16", True, (64, 64))
    limit = np.sqrt(6 / 128)
    assert 0.9 * limit < np.abs(w.numpy()).max() <= limit * 1.001  # Glorot's bounds
    assert layer.add_weight((2,), dtype="int32").numpy().tolist() == [0, 0]
    assert layer.add_weight(3, "ones").shape == (3,)
    assert layer.add_weight(initializer="ones").shape == ()


# ---- The mode ----


class Tells(Layer):
    """Keeps what it was told."""

    def call(self, x, training=None):
        self.told = training
        return x


class TellsByDefault(Layer):
    def call(self, x, training=True):
        self.told = training
        return x


class HandsOn(Layer):
    def __init__(self, inner, how):
        super().__init__()
        self.inner, self.how = inner, how

    def call(self, x, training=None):
        return self.how(self.inner, x, training)


class SaysNothing(Layer):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return self.inner(x)


class TakesAll(Layer):
    def call(self, x, **options):
        self.told = options.get("training")
        return x


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_given_by_keyword_by_position_or_by_context(training):
    for call in (lambda layer: layer(X, training=training), lambda layer: layer(X, training), lambda layer: in_context(training, layer)):
        for layer in (Tells(), TellsByDefault()):
            call(layer)
            assert layer.told is training


def in_context(training, layer):
    with training_context(training):
        return layer(X)


def test_without_a_mode_the_default_of_call_holds():
    for layer, expected in ((Tells(), None), (TellsByDefault(), True)):
        layer(X)
        assert layer.told is expected


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_reaches_nested_layers_also_through_layers_that_do_not_take_it(training):
    inner = Tells()
    for outer in (
        SaysNothing(inner),
        SaysNothing(SaysNothing(inner)),
        HandsOn(inner, lambda layer, x, t: layer(x)),
        Net(lambda m, x, t: inner(x)),
    ):
        inner.told = "nothing"
        outer(X, training=training)
        assert inner.told is training


def test_a_mode_given_to_a_nested_layer_is_the_one_that_counts():
    inner = Tells()
    HandsOn(inner, lambda layer, x, t: layer(x, training=False))(X, training=True)
    assert inner.told is False
    outer_default = HandsOn(inner, lambda layer, x, t: layer(x, training=True))
    outer_default(X)
    assert inner.told is True


def test_call_with_options_gets_the_mode_among_them():
    layer = TakesAll()
    layer(X, training=True)
    assert layer.told is True


def test_the_mode_does_not_outlive_the_call():
    Tells()(X, training=True)
    layer = Tells()
    layer(X)
    assert layer.told is None
    assert (_training.get(), _depth.get()) == (None, 0)

    class Fails(Layer):
        def call(self, x, training=None):
            raise KeyError

    with pytest.raises(KeyError):
        Fails()(X, training=True)
    assert (_training.get(), _depth.get()) == (None, 0)


# ---- add_loss ----


class Penalty(Layer):
    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def call(self, x):
        self.add_loss(self.factor * jnp.sum(x))
        return x


def test_losses_are_those_of_the_last_run_here_and_in_nested_layers():
    net = Net(lambda m, x, t: m.b(m.a(x)), a=Penalty(), b=Penalty(2.0))
    for n in (1.0, 2.0):
        net(np.full((2, 2), n, "float32"))
        assert [float(loss) for loss in net.losses] == [4 * n, 8 * n]
    assert [float(loss) for loss in net.b.losses] == [16.0]


def test_losses_of_a_capture_do_not_stay_in_the_layers():
    net = Net(lambda m, x, t: m.a(x), a=Penalty())
    graph = net.capture((None, 3))
    assert net.losses == []
    assert graph.losses == 1


def test_several_losses_are_added_at_once():
    layer = Scale()
    layer.add_loss([1.0, 2.0])
    layer.add_loss(3.0)
    assert layer.losses == [1.0, 2.0, 3.0]


def test_losses_under_a_users_grad_are_there_inside_and_gone_afterwards():
    net, x = Net(lambda m, x, t: m.a(x), a=Penalty()), jnp.ones((2, 2))
    gradient = jax.grad(lambda x: net(x).sum() + 2 * sum(net.losses))(x)
    np.testing.assert_array_equal(gradient, 3 * np.ones((2, 2)))
    assert net.losses == []
    jax.jit(net)(x)
    assert net.losses == []
    net(x)
    assert [float(loss) for loss in net.losses] == [4.0]


def test_stateless_call_leaves_no_losses_behind():
    net, x = Net(lambda m, x, t: m.a(x * m.w), a=Penalty(), w=normal(2)), jnp.ones((2, 2))
    net(x)
    before = [float(loss) for loss in net.losses]
    with jax.checking_leaks():
        _, _, losses = jax.jit(lambda values: net.stateless_call(values, [], x, return_losses=True))([jnp.ones(2)])
    assert [float(loss) for loss in losses] == [4.0]
    assert [float(loss) for loss in net.losses] == before  # those of the last run of its own


def test_losses_of_an_eager_gradient_are_numbers():
    net, x = Net(lambda m, x, t: m.a(x * m.w), a=Penalty(3.0), w=np.ones(2, "float32")), jnp.ones((2, 2))
    with jax.checking_leaks():
        value, (gradient,) = pellucid.value_and_grad(lambda: net(x).sum() + sum(net.losses), [net.w])()
    assert (float(value), gradient.tolist(), [float(loss) for loss in net.losses]) == (16.0, [8.0, 8.0], [12.0])


def test_add_loss_in_the_turn_of_a_scan_says_that_it_would_be_lost():
    layer = Penalty()
    with pytest.raises(pellucid.CaptureError, match="add_loss is called in layer 'penalty.*inside a JAX transformation"):
        pellucid.ops.scan(lambda x, _: (layer(x), None), jnp.ones((2, 2)), length=3)
    assert layer.losses == []


# ---- Names, paths, config ----


def test_names_are_numbered_by_class_and_may_be_given():
    assert [Scale().name, Scale().name, Scale(name="gain").name, Block().name] == ["scale", "scale_1", "gain", "block"]


def test_names_are_numbered_in_the_order_of_making():
    first, second = Scale(), Scale()
    assert (second.name, first.name) == ("scale_1", "scale")


def test_paths_are_attributes_unless_the_user_named_the_layer():
    net = Net(lambda m, x, t: x, encoder=Block(), blocks=[Scale(), Scale(name="gain")], by={"key": Scale()})
    assert net.encoder.parts[1].path == "encoder/parts/1"
    assert [b.path for b in net.blocks] == ["blocks/0", "gain"]
    assert net.by["key"].path == "by/key"
    net.encoder(X)
    assert [v.path for v in net.encoder.weights][:2] == ["encoder/parts/0/kernel", "encoder/parts/0/bias"]


def test_the_first_owner_gives_the_path():
    shared = Scale()
    Net(None, mine=shared)
    Net(None, yours=shared)
    assert shared.path == "mine"


def test_config_holds_the_arguments_of_init_and_makes_an_equal_layer():
    layer = Scale(5, name="gain", trainable=False, dtype="float16")
    assert layer.get_config() == {"units": 5, "name": "gain", "trainable": False, "dtype": "float16"}
    copy = Scale.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert copy is not layer


def test_config_of_keywords_and_positions_is_the_same():
    assert Scale(3, name="a").get_config() == Scale(units=3, name="a").get_config()


def test_config_says_what_changed_since():
    layer = Scale(name="a")
    layer.trainable = False
    assert layer.get_config()["trainable"] is False


@pytest.mark.parametrize("layer", [Dense(3, "relu"), layers.Dropout(0.5), layers.BatchNormalization(momentum=0.5), layers.Reshape((3, 1))])
def test_configs_of_our_layers_make_equal_layers(layer):
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()


def test_a_class_whose_init_takes_no_name_is_made_from_its_config():
    class Plain(Layer):
        def __init__(self, units):
            super().__init__()
            self.units = units

        def call(self, x):
            return x

    assert Plain.from_config(Plain(4).get_config()).units == 4


def test_unknown_arguments_are_refused_by_name():
    with pytest.raises(TypeError, match="Scale: unknown argument 'unit'. Layer takes name, dtype, trainable, autocast and activity"):
        Scale(unit=3)


def test_the_repr_says_name_and_whether_it_is_built():
    layer = Scale()
    assert repr(layer) == "<Scale name=scale, built=False>"


# ---- Errors ----


class Wrong(Layer):
    def call(self, x, other=None):
        y = x * 2
        return y + jnp.ones((7, 7))


def notes_of(error):
    return [n for n in getattr(error, "__notes__", ()) if "in layer" in n]


def test_an_error_in_call_tells_the_innermost_layer_its_line_and_the_shapes():
    net = Net(lambda m, x, t: m.wrap(x), wrap=SaysNothing(Wrong()))
    with pytest.raises(TypeError) as caught:
        net(X)
    line = Wrong.call.__code__.co_firstlineno + 2
    assert notes_of(caught.value) == [f"in layer 'wrap/inner' (Wrong.call, test_layer.py:{line}), inputs: (4, 3)"]


def test_several_inputs_and_keywords_are_told():
    with pytest.raises(TypeError) as caught:
        Wrong()(X, other={"a": normal(2), "n": 5})
    assert notes_of(caught.value)[0].endswith("inputs: (4, 3), other={'a': (2,), 'n': 5}")


def test_an_error_in_build_is_told_as_such():
    class Bad(Layer):
        def build(self, input_shape):
            raise LookupError("no table")

        def call(self, x):
            return x

    with pytest.raises(LookupError) as caught:
        Bad()(X)
    line = Bad.build.__wrapped__.__code__.co_firstlineno + 1
    assert notes_of(caught.value) == [f"in layer 'bad' (Bad.build, test_layer.py:{line}), inputs: (4, 3)"]


def test_an_error_of_a_built_in_layer_names_the_line_that_called_it():
    net = Net(lambda m, x, t: m.dense(x), dense=Dense(2))
    net(X)
    with pytest.raises(ValueError, match="kernel for 3 features and got inputs of shape") as caught:
        net(normal(4, 9))
    assert notes_of(caught.value)[0].startswith("in layer 'dense' (Dense.call")


@pytest.mark.parametrize(
    "run", [lambda layer: layer(X), lambda layer: Net(lambda m, x, t: m.f(x), f=layer).capture((None, 3))], ids=["eager", "capture"]
)
def test_a_call_that_returns_nothing_is_told(run):
    class Forgets(Layer):
        def call(self, x):
            x * 2

    with pytest.raises(ValueError, match=r"call of layer '(f|forgets)' \(Forgets\) returned None. Does it lack a `return`"):
        run(Forgets())


def test_a_layer_without_call_says_what_to_define():
    class Empty(Layer):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no call method. Define `def call"):
        Empty()(X)


def test_frames_and_depth_are_left_when_a_nested_call_raises():
    net = Net(lambda m, x, t: m.wrong(x), wrong=Wrong())
    for run in (lambda: net(X), lambda: net.capture((None, 3)), lambda: pellucid.value_and_grad(lambda: net(X).sum(), [])()):
        with pytest.raises(TypeError):
            run()
        assert frame.active_frame() is None
        assert (_training.get(), _depth.get()) == (None, 0)


# ---- Inputs ----


def test_numpy_arrays_become_jax_arrays_of_the_default_float_everything_else_stays():
    seen = {}

    class Sees(Layer):
        def call(self, x, text, number, nothing, mapping):
            seen.update(locals())
            return x

    Sees()(np.ones((2, 2)), "text", 3, None, {"a": np.arange(3), "b": jnp.ones(1)})
    assert isinstance(seen["x"], jax.Array) and seen["x"].dtype == jnp.float32
    assert (seen["text"], seen["number"], seen["nothing"]) == ("text", 3, None)
    assert isinstance(seen["mapping"]["a"], jax.Array) and jnp.issubdtype(seen["mapping"]["a"].dtype, jnp.integer)


def test_layers_work_inside_a_users_jit_grad_and_vmap():
    layer = Dense(2)
    expected = np.asarray(layer(X))
    np.testing.assert_allclose(jax.jit(layer)(X), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(lambda row: layer(row[None])[0])(jnp.asarray(X)), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        jax.grad(lambda x: layer(x).sum())(jnp.asarray(X)), np.tile(layer.kernel.numpy().sum(1), (4, 1)), rtol=1e-5, atol=1e-6
    )


def test_a_layer_built_inside_a_users_jit_has_concrete_weights():
    layer = Dense(2)
    out = jax.jit(layer)(X)
    np.testing.assert_allclose(out, X @ layer.kernel.numpy() + layer.bias.numpy(), rtol=1e-5, atol=1e-6)


def test_deleting_and_setting_attributes_raises_the_version():
    layer = Scale()
    before = Layer.version
    layer.alpha = 1
    del layer.alpha
    assert Layer.version == before + 2


def test_the_mode_reaches_a_call_that_is_decorated():
    def logged(call):
        @functools.wraps(call)
        def wrapper(self, *args, **kwargs):
            return call(self, *args, **kwargs)

        return wrapper

    class Decorated(Layer):
        @logged
        def call(self, x, training=None):
            self.told = training
            return x

    layer = Decorated()
    layer(X, training=True)
    assert layer.told is True


@pytest.mark.parametrize("bad", [["a", "b", "c"], ["1", "2", "3"], [None, 1, 2], [1j, 2, "c"]])
def test_set_weights_sets_all_or_none(bad):
    layer = Dense(3)
    layer.build((None, 2))
    before = layer.get_weights()
    with pytest.raises(ValueError, match="set_weights: 'dense.*/bias' got an array of type .*; expected numbers, as float32"):
        layer.set_weights([np.ones((2, 3)), np.array(bad)])
    for a, b in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loop_over_rows_in_build_is_explained_as_in_call():
    class Loops(Layer):
        def __init__(self, rows):
            super().__init__()
            self.rows = rows

        def build(self, input_shape):
            self.w = self.add_weight((), "ones")
            for _ in self.rows[0]:
                pass

        def call(self, x):
            return x

    def call(model, x, training):
        rows[:] = [x]
        return loops(x)

    rows = []
    loops = Loops(rows)
    model = Net(call, loops=loops)
    with pytest.raises(pellucid.CaptureError, match="goes over the rows of a tensor of shape") as raised:
        model.capture((None, 3))
    assert any("Loops.build, test_layer.py:" in note for note in raised.value.__notes__)
