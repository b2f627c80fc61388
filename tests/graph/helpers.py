"""What the tests of captures share: a model made of one function, and a comparison with plain JAX."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import pellucid
from pellucid.core.frame import functional

FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # programs that run once


class Net(pellucid.Model):
    """A model whose ``call`` is ``function(self, x, training)``. Arrays among the attributes become weights."""

    def __init__(self, function: Callable, **attributes: Any):
        super().__init__()
        self.function = function
        for name, value in attributes.items():
            setattr(self, name, pellucid.Variable(value, name=name) if isinstance(value, np.ndarray) else value)

    def call(self, x: Any, training: Any = False) -> Any:
        return self.function(self, x, training)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("float32")


def integers(*shape: int, below: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).integers(0, below, shape).astype("int32")


def spec(*shape: int, dtype: Any = "float32") -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)


def specs_like(x: Any) -> Any:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), x)


def is_float(a: Any) -> bool:
    return jnp.issubdtype(a.dtype, jnp.floating)


def outputs_and_gradients(run: Callable, weights: Any, x: Any) -> tuple[Any, Any]:
    """Outputs of ``run(weights, x)``, and gradients of a sum of them, unevenly weighted, by weights and by float inputs."""
    leaves, tree = jax.tree.flatten(x)

    def loss(weights: Any, floats: list) -> tuple[Any, Any]:
        given = iter(floats)
        outputs = run(weights, jax.tree.unflatten(tree, [next(given) if is_float(leaf) else leaf for leaf in leaves]))
        sums = [jnp.vdot(jnp.cos(jnp.arange(y.size, dtype=y.dtype)), y.ravel()) for y in jax.tree.leaves(outputs) if is_float(y)]
        return sum(sums, jnp.zeros(())), outputs

    gradients, outputs = jax.grad(loss, argnums=(0, 1), has_aux=True)(weights, [leaf for leaf in leaves if is_float(leaf)])
    return outputs, gradients


def plain(function: Callable, training: bool) -> Callable:
    """The function in plain JAX: its weights are arrays in a namespace, nothing of Pellucid runs."""
    return lambda weights, x: function(types.SimpleNamespace(**weights), x, training)


def instantiated(net: pellucid.Model, names: list[str], training: bool, capture: Callable) -> Callable:
    """The captured graph as a pure function of weights by name and inputs."""

    def run(weights: dict, x: Any) -> Any:
        graph = capture(x)
        pure = functional(lambda x: graph.run(x, training)[0], [getattr(net, n) for n in names])
        return pure([weights[n] for n in names], x)[0]

    return run


def assert_same(one: Any, other: Any, tolerance: float = 1e-5) -> None:
    """Equal structure, shapes, dtypes and, up to rounding, values."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for (path, a), b in zip(jax.tree_util.tree_flatten_with_path(one)[0], jax.tree.leaves(other), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), jax.tree_util.keystr(path)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=jax.tree_util.keystr(path))


def assert_graph_equals_plain_jax(
    function: Callable,
    weights: dict[str, np.ndarray],
    inputs: Callable[[int], Any],
    sizes: tuple = (7,),
    modes: tuple = (True, False),
) -> tuple[Net, list]:
    """Captures ``function`` once, for 4 rows, and compares outputs and gradients with plain JAX at other sizes in both modes.

    Returns:
        the model, and what plain JAX gave: (outputs, (gradients of the weights, of the inputs)) for each mode and size.
    """
    net, names = Net(function, **weights), list(weights)
    net.build(specs_like(inputs(4)))

    def both(weights: dict, batches: list) -> tuple[list, list]:
        results: tuple[list, list] = [], []
        for training in modes:
            capture = lambda x, training=training: net.capture(specs_like(x), training=training)
            for x in batches:
                results[0].append(outputs_and_gradients(instantiated(net, names, training, capture), weights, x))
                results[1].append(outputs_and_gradients(plain(function, training), weights, x))
        return results

    ours, expected = jax.jit(both, compiler_options=FAST)({n: jnp.asarray(w) for n, w in weights.items()}, [inputs(n) for n in sizes])
    assert net.ledger.call_count == 1
    assert_same(ours, expected)
    return net, expected
