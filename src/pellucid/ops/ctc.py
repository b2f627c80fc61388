"""Connectionist temporal classification: labels of sequences whose alignment with the steps is not known.

Source: Graves et al. 2006, "Connectionist temporal classification: labelling unsegmented sequence data with recurrent neural networks".
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core import dtypes
from pellucid.core.equation import equation

IMPOSSIBLE = -1e5  # the logarithm of a probability of 0 that has a gradient: infinities would make it NaN


@equation
def ctc_loss(target: Any, output: Any, target_length: Any, output_length: Any, mask_index: int = 0) -> jax.Array:
    """``-log`` of the probability of the labels, summed over all their alignments with the steps.

    Args:
        target: labels; shape (batch, labels).
        output: logits of the classes; shape (batch, steps, classes).
        target_length: how many labels of a row count; shape (batch,).
        output_length: how many steps of a row count; shape (batch,).
        mask_index: the class that stands for no label.

    Returns:
        (batch,)

    Example:
        >>> from pellucid import ops
        >>> logits = ops.zeros((1, 2, 2))
        >>> [round(v, 4) for v in ops.ctc_loss([[1]], logits, [1], [2]).tolist()]  # of 4 paths 3 are right: 1 1, _ 1, 1 _
        [0.2877]
    """
    target, output = jnp.asarray(target, "int32"), jnp.asarray(output)
    if target.ndim != 2 or output.ndim != 3:
        raise ValueError(
            f"ctc_loss: target has shape {target.shape} and output has shape {output.shape}; "
            "expected (batch, labels) and (batch, steps, classes)."
        )
    steps = jnp.asarray(output_length, "int32")
    scores = jax.nn.log_softmax(dtypes.wide(output))
    # the states of an alignment: a pause before, between and after the labels
    pauses = jnp.full_like(target, mask_index)
    states = jnp.concatenate([jnp.stack([pauses, target], axis=-1).reshape(target.shape[0], -1), pauses[:, :1]], axis=-1)
    emitted = jnp.take_along_axis(scores, states[:, None] % output.shape[2], axis=-1)  # padding may be any number
    # one may go from a label to the next without a pause where they differ
    skips = jnp.pad((states[:, 2:] != mask_index) & (states[:, 2:] != states[:, :-2]), ((0, 0), (2, 0)))

    def step(reached: jax.Array, now: tuple) -> tuple:
        time, values = now
        before = jnp.pad(reached, ((0, 0), (2, 0)), constant_values=IMPOSSIBLE)
        skipped = jnp.where(skips, before[:, :-2], IMPOSSIBLE)
        new = jnp.logaddexp(jnp.logaddexp(reached, before[:, 1:-1]), skipped) + values
        return jnp.where((time < steps)[:, None], new, reached), None

    start = jnp.where(jnp.arange(states.shape[1]) == 0, 0.0, IMPOSSIBLE).astype(scores.dtype)  # in the pause, before the first step
    reached, _ = jax.lax.scan(step, jnp.broadcast_to(start, states.shape), (jnp.arange(output.shape[1]), jnp.moveaxis(emitted, 1, 0)))
    last = 2 * jnp.asarray(target_length, "int32")[:, None]
    ends = jnp.take_along_axis(reached, jnp.concatenate([last, jnp.maximum(last - 1, 0)], axis=-1), axis=-1)
    return -jnp.where(last[:, 0] > 0, jnp.logaddexp(ends[:, 0], ends[:, 1]), ends[:, 0])


def ctc_decode(
    inputs: Any,
    sequence_lengths: Any,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int = 0,
) -> tuple[jax.Array, jax.Array]:
    """The labels that scores of classes stand for, padded with -1, and how good they are.

    Args:
        inputs: scores of the classes; shape (batch, steps, classes).
        sequence_lengths: how many steps of a row count; shape (batch,).
        strategy: "greedy" takes the best class of each step; "beam_search" the labels that are best over all their alignments.
        beam_width: how many beginnings a beam search keeps.
        top_paths: how many results a beam search gives for a row.
        merge_repeated: whether a class that is best in several steps in a row is one label; of "greedy".
        mask_index: the class that stands for no label.

    Returns:
        labels (top_paths, batch, steps), and (batch, top_paths): with "greedy" minus the sum of the best scores; else the
        logarithms of the probabilities.

    Example:
        >>> from pellucid import ops
        >>> scores = ops.one_hot([[1, 1, 0, 2]], 3)
        >>> ops.ctc_decode(scores, [4])[0].tolist()
        [[[1, 2, -1, -1]]]
    """
    inputs, lengths = jnp.asarray(inputs), jnp.asarray(sequence_lengths, "int32")
    inputs = dtypes.wide(inputs)
    mask_index = mask_index % inputs.shape[-1]
    if strategy == "greedy":
        return _greedy(inputs, lengths, merge_repeated, mask_index)
    if strategy != "beam_search":
        raise ValueError(f"ctc_decode: strategy={strategy!r} is not known; expected 'greedy' or 'beam_search'.")
    search = functools.partial(_beam_search, width=max(beam_width, top_paths), top=top_paths, mask_index=mask_index)
    paths, scores = jax.vmap(search)(jax.nn.log_softmax(inputs), lengths)
    return jnp.moveaxis(paths, 1, 0), scores


def _greedy(inputs: jax.Array, lengths: jax.Array, merge_repeated: bool, mask_index: int) -> tuple[jax.Array, jax.Array]:
    counts = jnp.arange(inputs.shape[1]) < lengths[:, None]
    best = jnp.where(counts, jnp.argmax(inputs, axis=-1).astype("int32"), mask_index)
    kept = best != mask_index
    if merge_repeated:
        kept &= jnp.pad(best[:, 1:] != best[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    order = jnp.argsort(~kept, axis=-1, stable=True)  # the labels first
    labels = jnp.take_along_axis(jnp.where(kept, best, -1), order, axis=-1)
    return labels[None], -jnp.sum(jnp.where(counts, jnp.max(inputs, axis=-1), 0), axis=1, keepdims=True)


def _beam_search(scores: jax.Array, length: jax.Array, width: int, top: int, mask_index: int) -> tuple[jax.Array, jax.Array]:
    """Beginnings of labels with the logarithms of the probabilities of ending in a pause, and in their last label.

    Args:
        scores: log-probabilities; shape (steps, classes).
    """
    steps, classes = scores.shape
    nothing = jnp.full((width,), -jnp.inf, scores.dtype)
    start = (jnp.full((width, steps), -1, "int32"), jnp.zeros(width, "int32"), nothing.at[0].set(0.0), nothing)

    def last_of(paths: jax.Array, sizes: jax.Array) -> jax.Array:
        return jnp.take_along_axis(paths, jnp.maximum(sizes - 1, 0)[:, None], axis=1)[:, 0]  # -1 of an empty path

    def step(state: tuple, now: tuple) -> tuple:
        paths, sizes, paused, spoken = state
        time, score = now
        last, total = last_of(paths, sizes), jnp.logaddexp(paused, spoken)
        # of each beginning (row) with each class: a class that repeats the last label is a new one only after a pause
        longer = jnp.where(jnp.arange(classes) == last[:, None], paused[:, None], total[:, None]) + score
        longer = longer.at[:, mask_index].set(-jnp.inf)
        # a beginning that grows to one that is kept (column) adds to that one
        shorter = jnp.where(jnp.arange(steps) < (sizes - 1)[:, None], paths, -1)
        grows = jnp.all(paths[:, None] == shorter[None], axis=-1) & (sizes[:, None] + 1 == sizes) & jnp.isfinite(total)
        gained = jnp.where(grows, longer[:, jnp.maximum(last, 0)], -jnp.inf)
        repeated = jnp.where(sizes > 0, spoken + score[jnp.maximum(last, 0)], -jnp.inf)
        stays = jnp.logaddexp(repeated, jax.nn.logsumexp(gained, axis=0))
        taken = jnp.any(grows[:, :, None] & (jnp.arange(classes) == last[None, :, None]), axis=1)
        longer = jnp.where(taken, -jnp.inf, longer)
        silent = total + score[mask_index]
        best, chosen = jax.lax.top_k(jnp.concatenate([jnp.logaddexp(silent, stays), longer.ravel()]), width)
        is_longer = chosen >= width
        parent = jnp.where(is_longer, (chosen - width) // classes, chosen)
        label = jnp.where(is_longer, (chosen - width) % classes, 0)
        at = (jnp.arange(steps) == sizes[parent][:, None]) & is_longer[:, None]
        new = (
            jnp.where(at, label[:, None], paths[parent]),
            sizes[parent] + is_longer,
            jnp.where(is_longer, -jnp.inf, silent[parent]),
            jnp.where(is_longer, best, stays[parent]),
        )
        return jax.tree.map(lambda a, b: jnp.where(time < length, a, b), new, state), None

    (paths, _, paused, spoken), _ = jax.lax.scan(step, start, (jnp.arange(steps), scores))
    best, chosen = jax.lax.top_k(jnp.logaddexp(paused, spoken), top)
    return paths[chosen], best
