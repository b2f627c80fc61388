"""Nodes, edges, names and shapes: what a captured graph shows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import pellucid
from pellucid import layers, ops
from tests.graph.helpers import Net, normal, spec

HERE = "test_graph.py"


def edges_of(graph):
    return {(e.source.path, e.target.path) for e in graph.edges}


def shapes(specs):
    return tuple(s.shape for s in specs)


# ---- The wide-and-deep model ----


class WideAndDeep(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.norm_wide, self.norm_deep = layers.Normalization(), layers.Normalization()
        self.hidden1 = layers.Dense(30, activation="relu")
        self.hidden2 = layers.Dense(30, activation="relu")
        self.main_output = layers.Dense(1)
        self.aux_output = layers.Dense(1)

    def call(self, inputs):
        wide, deep = inputs
        hidden = self.hidden2(self.hidden1(self.norm_deep(deep)))
        return self.main_output(layers.concatenate([self.norm_wide(wide), hidden])), self.aux_output(hidden)


def test_the_wide_and_deep_model_as_a_graph():
    graph = WideAndDeep().capture((None, 5), (None, 6))
    assert {n.path: (n.kind, shapes(n.outputs), n.parameters) for n in graph.nodes} == {
        "norm_deep": ("Normalization", ((None, 6),), 13),
        "hidden1": ("Dense", ((None, 30),), 210),
        "hidden2": ("Dense", ((None, 30),), 930),
        "norm_wide": ("Normalization", ((None, 5),), 11),
        "concatenate": ("Concatenate", ((None, 35),), 0),
        "main_output": ("Dense", ((None, 1),), 36),
        "aux_output": ("Dense", ((None, 1),), 31),
    }
    assert edges_of(graph) == {
        ("input_2", "norm_deep"),
        ("norm_deep", "hidden1"),
        ("hidden1", "hidden2"),
        ("input_1", "norm_wide"),
        ("norm_wide", "concatenate"),
        ("hidden2", "concatenate"),
        ("concatenate", "main_output"),
        ("hidden2", "aux_output"),
        ("main_output", "output_1"),
        ("aux_output", "output_2"),
    }
    assert [n.path for n in graph.nodes][:3] == ["norm_deep", "hidden1", "hidden2"]  # the order in which they ran
    assert graph.outputs == ((None, 1), (None, 1))
    assert graph.output_names == ["main_output", "aux_output"]
    assert graph["hidden1"].inputs == (((None, 6), "float32"),)
    with pytest.raises(KeyError, match="no node 'hidden3'.*hidden1"):
        _ = graph["hidden3"]


# ---- Nesting, sharing, operations ----


class Block(layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.first, self.second = layers.Dense(units, activation="relu"), layers.Dense(units)

    def call(self, x):
        return x + self.second(self.first(x))


def test_nested_layers_are_nodes_inside_their_layer():
    net = Net(lambda m, x, t: m.out(m.blocks[1](m.blocks[0](x))), blocks=[Block(3), Block(3)], out=layers.Dense(1))
    graph = net.capture((None, 3))
    assert [n.path for n in graph.calls] == [
        "blocks/0",
        "blocks/0/first",
        "blocks/0/second",
        "blocks/1",
        "blocks/1/first",
        "blocks/1/second",
        "out",
    ]
    edges = edges_of(graph)
    assert {("blocks/0", "blocks/1"), ("blocks/1", "out"), ("blocks/0/first", "blocks/0/second")} <= edges
    assert ("blocks/0/second", "blocks/1") not in edges  # from outside one sees the block
    assert graph["blocks/0"].parameters == 24


def test_the_depth_counts_layers_not_containers():
    net = Net(lambda m, x, t: m.blocks["a"][0](x), blocks={"a": [Block(3)]})
    graph = net.capture((None, 3))
    assert [n.path for n in graph.calls] == ["blocks/a/0", "blocks/a/0/first", "blocks/a/0/second"]
    assert [n.depth for n in graph.calls] == [0, 1, 1]


def test_a_shared_layer_has_a_node_for_each_call():
    net = Net(lambda m, x, t: m.out(m.shared(x[0]) * m.shared(x[1])), shared=layers.Dense(4), out=layers.Dense(1))
    graph = net.capture((None, 3), (None, 3))
    assert [n.path for n in graph.calls] == ["shared", "shared#2", "out"]
    (multiply,) = [n for n in graph.nodes if n.layer is None]
    assert {
        ("input_1", "shared"),
        ("input_2", "shared#2"),
        ("shared", multiply.path),
        ("shared#2", multiply.path),
        (multiply.path, "out"),
        ("out", "output"),
    } == edges_of(graph)


def test_operations_between_layers_are_nodes_at_their_line():
    def call(m, x, t):
        a = m.a(x)
        b = jnp.tanh(a)
        return m.b(b)

    graph = Net(call, a=layers.Dense(4), b=layers.Dense(2)).capture((None, 3))
    (tanh,) = [n for n in graph.nodes if n.layer is None]
    line = call.__code__.co_firstlineno + 2
    assert (tanh.kind, tanh.path, shapes(tanh.outputs)) == ("tanh", "tanh", ((None, 4),))
    assert (str(tanh.source), tanh.connected_to) == (f"{HERE}:{line}", ["a"])
    assert graph["b"].source.line == line + 1
    assert edges_of(graph) == {("input", "a"), ("a", "tanh"), ("tanh", "b"), ("b", "output")}


def test_a_residual_connection_shows_both_ways():
    def call(m, x, t):
        return m.out(x + m.a(x))

    graph = Net(call, a=layers.Dense(3), out=layers.Dense(1)).capture((None, 3))
    (add,) = [n for n in graph.nodes if n.layer is None]
    assert set(add.connected_to) == {"input", "a"}


def test_weights_and_the_mode_are_no_nodes():
    net = Net(lambda m, x, t: m.out(x * m.w), w=normal(3), out=layers.Dropout(0.5))
    graph = net.capture((None, 3))
    assert not {"read_variable", "mode"} & {n.kind for n in graph.nodes}
    assert ("input", "multiply") in edges_of(graph)
    assert graph["multiply"].variables == [net.w] and graph["multiply"].parameters == 3
    assert graph.reads[0] is net.w


def test_what_the_user_wrote_is_one_operation_each_time_it_runs():
    def call(m, x, t):
        for _ in range(2):
            x = jnp.mean(x, axis=-1, keepdims=True)  # three equations
        return ops.matmul(x, jnp.ones((1, 2))) @ jnp.ones((2, 3)) - x**2

    graph = Net(call).capture((None, 3))
    names = ["mean", "mean#2", "ones", "matmul", "ones#2", "matmul#2", "power", "subtract"]
    assert [n.path for n in graph.nodes if n.kind != "broadcast_in_dim"] == names
    assert shapes(graph["mean"].outputs) == ((None, 1),) and graph["mean#2"].connected_to == ["mean"]


def test_operations_inside_a_users_layer_are_inside_its_node():
    graph = Net(lambda m, x, t: m.block(x), block=Block(3)).capture((None, 3))
    assert [(n.path, n.depth, n.parent) for n in graph.nodes] == [
        ("block", 0, ""),
        ("block/first", 1, "block"),
        ("block/second", 1, "block"),
        ("block/add", 1, "block"),
    ]
    assert [n.path for n in graph.children("block")] == ["block/first", "block/second", "block/add"]
    assert graph["block"].flops == sum(n.flops for n in graph.children("block")) > 2 * 2 * 9


def test_layers_that_are_never_called_are_listed():
    net = Net(lambda m, x, t: m.used(x), used=layers.Dense(3), unused=layers.Dense(4))
    assert net.capture((None, 3)).uncalled == [net.unused]


def test_parallel_operations_on_one_line_are_one_node_each_by_kind():
    net = Net(lambda m, x, t: m.out(jnp.sin(x) + jnp.cos(x)), out=layers.Dense(1))
    kinds = [n.kind for n in net.capture((None, 3)).nodes]
    assert sorted(kinds) == ["Dense", "add", "cos", "sin"]


def test_layers_called_in_a_users_named_scope_keep_their_edges():
    def call(m, x, t):
        with jax.named_scope("head"):
            return m.out(m.a(x))

    graph = Net(call, a=layers.Dense(3), out=layers.Dense(1)).capture((None, 3))
    assert edges_of(graph) == {("input", "a"), ("a", "out"), ("out", "output")}


def test_layers_called_under_vmap_keep_their_edges():
    net = Net(lambda m, x, t: m.out(jax.vmap(lambda row: m.a(row[None])[0])(x)), a=layers.Dense(3), out=layers.Dense(1))
    net.a(normal(4, 3))
    edges = [(e.source.path, e.target.path) for e in net.capture((None, 3)).edges]
    assert edges == [("input", "getitem"), ("getitem", "a"), ("a", "getitem#2"), ("getitem#2", "out"), ("out", "output")]


@pytest.mark.parametrize(
    ("name", "loop"),
    [
        ("scan", lambda f, x: ops.scan(lambda c, _: (f(c), None), x, length=3)[0]),
        ("scan", lambda f, x: jax.lax.scan(lambda c, _: (f(c), None), x, length=3)[0]),
        ("fori_loop", lambda f, x: ops.fori_loop(0, 3, lambda i, c: f(c), x)),
        ("map", lambda f, x: ops.map(f, x[:, None])[:, 0]),
        ("while_loop", lambda f, x: ops.while_loop(lambda x: x.sum() < 9, f, x)),
        ("remat", lambda f, x: ops.remat(f)(x)),
        ("remat", lambda f, x: jax.checkpoint(f)(x)),
        ("vectorized_map", lambda f, x: ops.vectorized_map(lambda row: f(row[None])[0], x)),
    ],
)
def test_a_layer_in_a_loop_is_one_node_inside_that_of_the_loop(name, loop, capsys):
    net = Net(lambda m, x, t: m.out(loop(lambda c: m.cell(c) * 2, m.a(x))), a=layers.Dense(3), cell=layers.Dense(3), out=layers.Dense(1))
    net.cell.build((None, 3))  # jax.lax.scan can build none
    graph = net.capture((None, 3))
    assert [n.path for n in graph.calls] == ["a", "cell", "out"]
    nodes = [n.path for n in graph.nodes if n.kind != "getitem"]
    assert nodes == ["a", name, "cell", "multiply", "out"]
    assert [n.path for n in graph.children(name) if n.kind != "getitem"] == ["cell", "multiply"]
    assert [graph[path].depth for path in nodes] == [0, 0, 1, 1, 0]
    assert (graph[name].kind, len(graph[name].results), graph["cell"].name) == (name, 1, "cell")
    assert graph["multiply"].connected_to == ["cell"] and "multiply" not in graph["out"].connected_to
    assert graph[name].flops >= graph["cell"].flops + graph["multiply"].flops > 0
    assert graph[name].parameters == graph["cell"].parameters == 12
    net.summary()
    lines = capsys.readouterr().out.splitlines()
    at = [next(i for i, line in enumerate(lines) if line.startswith(row)) for row in (f" · {name} ", "   cell (Dense) ", "   · multiply ")]
    assert at == sorted(at)


def test_a_layer_in_both_branches_of_a_cond_has_a_node_for_each():
    net = Net(lambda m, x, t: ops.cond(x.sum() > 0, lambda: m.a(x), lambda: -m.b(x)), a=layers.Dense(3), b=layers.Dense(3))
    graph = net.capture((None, 3))
    assert [n.path for n in graph.calls] == ["a", "b"]
    assert [n.path for n in graph.children("cond")] == ["a", "b", "negative"]
    assert graph["cond"].results == ["a", "negative"]
    edges = {("input", "sum"), ("sum", "greater"), ("greater", "cond"), ("input", "cond"), ("cond", "output")}
    assert edges_of(graph) == edges | {("input", "a"), ("input", "b"), ("b", "negative")}


def test_control_flow_in_control_flow_is_nested():
    def call(m, x, t):
        turn = lambda c, _: (ops.remat(m.cell)(c), None)
        branches = [lambda: ops.scan(turn, x, length=3)[0], lambda: -m.b(x), lambda: x]
        return ops.switch(x.argmax(), branches)

    graph = Net(call, cell=Block(3), b=layers.Dense(3)).capture((None, 3))
    depths = {n.path: n.depth for n in graph.nodes}
    expected = {"argmax": 0, "switch": 0, "scan": 1, "remat": 2, "cell": 3, "b": 1, "negative": 1}
    assert {path: depths.get(path) for path in expected} == expected
    assert all(depth == 4 for path, depth in depths.items() if path.startswith("cell/"))
    assert graph["scan"].outputs == graph["remat"].outputs == graph["switch"].outputs  # not the state that goes along
    assert "switch" in graph["output"].connected_to


def test_what_each_row_draws_is_no_edge():
    def call(m, x, t):
        return ops.vectorized_map(lambda row: m.drop(m.a(row[None]), training=True)[0], x)

    graph = Net(call, a=layers.Dense(3), drop=layers.Dropout(0.5)).capture((None, 3))
    assert [(n.path, n.connected_to) for n in graph.nodes if n.kind != "getitem"] == [
        ("vectorized_map", ["input"]),
        ("a", ["getitem"]),
        ("drop", ["a"]),
    ]


def test_a_layer_of_a_remat_scope_is_shown_as_any_other():
    with pellucid.RematScope("full"):
        block = Block(3)
    graph = Net(lambda m, x, t: m.block(x), block=block).capture((None, 3))
    usual = Net(lambda m, x, t: m.block(x), block=Block(3)).capture((None, 3))
    assert [(n.path, n.kind, n.depth) for n in graph.nodes] == [(n.path, n.kind, n.depth) for n in usual.nodes]
    assert edges_of(graph) == edges_of(usual)


# ---- Outputs ----

OUTPUTS = {
    "single layer": (lambda m, x, t: m.a(x), ["a"], (None, 3)),
    "operation": (lambda m, x, t: m.a(x) * 2, ["output_1"], (None, 3)),
    "input": (lambda m, x, t: x, ["output_1"], (None, 3)),
    "tuple": (lambda m, x, t: (m.a(x), m.b(x)), ["a", "b"], ((None, 3), (None, 2))),
    "list": (lambda m, x, t: [m.b(x), jnp.sin(x)], ["b", "output_2"], [(None, 2), (None, 3)]),
    "dict": (lambda m, x, t: {"z": m.a(x), "y": x * 2}, ["y", "z"], {"z": (None, 3), "y": (None, 3)}),
    "nested": (lambda m, x, t: {"pair": (m.a(x), m.b(x))}, ["a", "b"], {"pair": ((None, 3), (None, 2))}),
    "one layer twice": (lambda m, x, t: (m.c(x), m.c(x * 2)), ["c", "c_2"], ((None, 3), (None, 3))),
    "the same value twice": (lambda m, x, t: (lambda y: (y, y))(m.a(x)), ["a", "a_2"], ((None, 3), (None, 3))),
    "inside a block": (lambda m, x, t: m.block(x), ["block"], (None, 3)),
    "scalar": (lambda m, x, t: {"mean": m.a(x).mean()}, ["mean"], {"mean": ()}),
    "named": (lambda m, x, t: m.named(x), ["prediction"], (None, 1)),
}


@pytest.mark.parametrize(("function", "names", "shapes"), OUTPUTS.values(), ids=OUTPUTS)
def test_outputs_have_names_and_shapes(function, names, shapes):
    net = Net(function, a=layers.Dense(3), b=layers.Dense(2), c=layers.Dense(3), block=Block(3), named=layers.Dense(1, name="prediction"))
    graph = net.capture((None, 3))
    assert graph.output_names == names
    assert graph.outputs == shapes


def test_a_constant_output_is_named_and_given():
    net = Net(lambda m, x, t: {"x": x, "one": jnp.ones(3)})
    graph = net.capture((None, 3))
    assert graph.output_names == ["one", "x"]
    np.testing.assert_array_equal(graph.run(jnp.zeros((2, 3)), False)[0]["one"], np.ones(3))


def test_dtypes_of_outputs_are_told():
    net = Net(lambda m, x, t: (x, jnp.argmax(x, -1), x > 0))
    assert net.capture((None, 3)).output_specs(2) == tuple(
        jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in (((2, 3), jnp.float32), ((2,), jnp.int32), ((2, 3), jnp.bool_))
    )


# ---- Losses, text ----


def test_losses_added_by_layers_follow_the_outputs():
    class Penalty(layers.Layer):
        def call(self, x):
            self.add_loss([(x**2).mean(), 2.0])
            return x

    net = Net(lambda m, x, t: m.penalty(x) + 1, penalty=Penalty())
    graph = net.capture((None, 3))
    for n in (4, 7):
        x = jnp.asarray(normal(n, 3))
        outputs, losses = graph.run(x, True)
        np.testing.assert_allclose(outputs, x + 1)
        np.testing.assert_allclose(losses, [np.mean(np.square(x)), 2.0], rtol=1e-6)
    assert graph.losses == 2
    assert "add_loss" in str(graph.coupling(True))


@pytest.mark.parametrize("loss", [lambda x: x, lambda x: x.sum(-1)])
def test_an_added_loss_that_is_no_scalar_is_refused(loss):
    class Penalty(layers.Layer):
        def call(self, x):
            self.add_loss(loss(x))
            return x

    with pytest.raises(ValueError, match="add_loss in layer 'penalty'.*expected a scalar"):
        Net(lambda m, x, t: m.penalty(x), penalty=Penalty()).capture((None, 3))


def test_a_loss_added_under_a_users_transformation_is_refused():
    class Penalty(layers.Layer):
        def call(self, x):
            self.add_loss(x.sum())
            return x

    net = Net(lambda m, x, t: lax.scan(lambda c, _: (m.penalty(c), None), x, None, length=2)[0], penalty=Penalty())
    with pytest.raises(pellucid.CaptureError, match="add_loss is called in layer 'penalty' inside a JAX transformation"):
        net.capture((None, 3))


def test_the_repr_is_short_and_says_what_it_is():
    graph = Net(lambda m, x, t: m.a(x), a=layers.Dense(2)).capture((None, 3))
    assert repr(graph) == "<Graph of 1 layer calls, inputs (None, 3) float32, outputs (None, 2)>"


def test_a_graph_of_many_inputs_says_its_structure():
    net = Net(lambda m, x, t: x["a"] + x["b"])
    assert str(net.capture({"a": spec(4, 3), "b": spec(4, 3)}).signature) == "{'a': (None, 3) float32, 'b': (None, 3) float32}"


def test_what_a_layer_keeps_for_its_next_call_is_no_connection():
    net = Net(lambda m, x, t: m.drop(x[0]) + m.drop(x[1]), drop=layers.Dropout(0.5))  # the second draw goes on from the first seed
    graph = net.capture(spec(4, 3), spec(4, 3), training=True)
    assert graph["drop#2"].connected_to == ["input_2"]


def test_a_name_with_parentheses_is_one_node():
    net = Net(lambda m, x, t: m.out(x), out=layers.Dense(2, name="a(b)&"))
    assert [n.path for n in net.capture((None, 3)).nodes] == ["a(b)&"]
