"""What a form of a function must have in common with the plain one: values, and derivatives of every kind."""

import jax
import jax.numpy as jnp
import numpy as np


def check_derivatives(own, plain, *args, rtol=1e-4, atol=1e-5):
    """The values, gradients, forward derivatives, second derivatives, and all that for a batch of arguments, of functions of arrays."""
    generator = np.random.default_rng(0)
    places = tuple(range(len(args)))
    weights = jnp.asarray(generator.normal(size=jax.eval_shape(plain, *args).shape), "float32")
    changes = tuple(jnp.asarray(generator.normal(size=a.shape), "float32") for a in args)
    batched = tuple(jnp.stack([a, 0.5 * a]) for a in args)

    def everything(f, args, changes, batched, weights):  # as arguments: XLA computes with constants itself, which is slow
        loss = lambda *a: jnp.sum(jnp.sin(f(*a)) * weights)
        gradient = jax.grad(loss, places)
        along = lambda *a: sum(jnp.vdot(g, c) for g, c in zip(gradient(*a), changes))
        return {
            "value": f(*args),
            "reverse": gradient(*args),
            "forward": jax.jvp(f, args, changes)[1],
            "forward over reverse": jax.jvp(gradient, args, changes)[1],
            "reverse over reverse": jax.grad(along, places)(*args),
            "of a batch": (jax.vmap(f)(*batched), jax.vmap(gradient)(*batched)),
            "with the others standing still": [jax.grad(loss, i)(*args) for i in places],
        }

    found, expected = (jax.jit(everything, static_argnums=0)(f, args, changes, batched, weights) for f in (own, plain))
    for kind, values in expected.items():
        for a, b in zip(jax.tree.leaves(found[kind]), jax.tree.leaves(values), strict=True):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=kind)
