"""What a form of a function must have in common with the plain one: values, and derivatives of every kind."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def check_derivatives(own, plain, *args, rtol=1e-4, atol=1e-5):
    """The values, gradients, forward derivatives, second derivatives, and all that for a batch of arguments, of functions of arrays."""
    close = lambda a, b: jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), a, b)
    generator = np.random.default_rng(0)
    places = tuple(range(len(args)))
    weights = jnp.asarray(generator.normal(size=jax.eval_shape(plain, *args).shape), "float32")
    changes = tuple(jnp.asarray(generator.normal(size=a.shape), "float32") for a in args)
    scalar = lambda f: lambda *a: jnp.sum(jnp.sin(f(*a)) * weights)
    gradient = lambda f: jax.grad(scalar(f), places)
    along = lambda f: lambda *a: sum(jnp.vdot(g, c) for g, c in zip(gradient(f)(*a), changes))
    batched = tuple(jnp.stack([a, 0.5 * a]) for a in args)
    for at in (
        lambda f: jax.jit(f)(*args),
        lambda f: jax.jit(gradient(f))(*args),
        lambda f: jax.jit(lambda *a: jax.jvp(f, a, changes)[1])(*args),
        lambda f: jax.jit(lambda *a: jax.jvp(gradient(f), a, changes)[1])(*args),  # forward over reverse
        lambda f: jax.jit(jax.grad(along(f), places))(*args),  # reverse over reverse
        lambda f: jax.jit(jax.vmap(f))(*batched),
        lambda f: jax.jit(jax.vmap(gradient(f)))(*batched),
    ):
        close(at(own), at(plain))
    for i, argument in enumerate(args):  # with the others standing still
        loss = lambda f, a, i=i: scalar(f)(*args[:i], a, *args[i + 1 :])
        close(jax.grad(functools.partial(loss, own))(argument), jax.grad(functools.partial(loss, plain))(argument))
