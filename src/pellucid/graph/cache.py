"""The graphs of one layer or model: finds the one that serves, or captures anew and says why."""

from __future__ import annotations

import time
from typing import Any

import jax

from pellucid.core import frame, jax_compat
from pellucid.core.layer import Layer
from pellucid.core.mode import TrainingFlag
from pellucid.graph.capture import Capture, capture_layer, lock, signature_of
from pellucid.graph.graph import BATCH, Graph, Signature
from pellucid.graph.guards import Guard
from pellucid.graph.ledger import Ledger, Reason, Run


class GraphCache:
    """All graphs of a model, newest last, and its ledger."""

    def __init__(self, layer: Layer):
        self.layer = layer
        self.ledger = Ledger()
        self.graphs: list[Graph] = []
        self._refused: dict[tuple, str] = {}  # signatures whose symbolic graph was of no use, and why

    @property
    def last(self) -> Graph | None:
        """The newest graph."""
        return self.graphs[-1] if self.graphs else None

    def graph_for(self, inputs: Any, batch_size: int | None, training: bool, caller: str, warn: bool = True) -> Graph:
        """The graph that serves inputs of these types at this batch size and mode. Captures only where none does.

        Args:
            inputs: structure of arrays or ``ShapeDtypeStruct``s.
            batch_size: the present size of the first axes.
            training: the present mode.
            caller: who asks, for the ledger.
            warn: whether side effects are worth a warning: not where steps run eagerly and repeat them.
        """
        signature = signature_of(inputs, batch_size)
        found = self._find(signature, batch_size, training)
        if found is not None:
            return found
        with lock:  # another thread may have captured it in the meantime
            found = self._find(signature, batch_size, training)
            return found if found is not None else self._capture(inputs, signature, batch_size, training, caller, warn)

    def run(self, inputs: Any, training: Any, paths: list[str], caller: str) -> list[Any]:
        """The values of some nodes for inputs. In the capture of another model the equations become part of that one.

        Args:
            inputs: structure of arrays.
            training: the mode, or the flag of a capture.
            paths: of the nodes.
            caller: who asks, for the ledger.
        """
        watcher = frame.observer()
        capture = watcher if isinstance(watcher, Capture) else None
        first = next((leaf.shape[0] for leaf in jax.tree.leaves(inputs) if getattr(leaf, "shape", ())), None)
        sizes = {} if capture is None else capture.sizes
        specs = jax.tree.map(lambda leaf: _at_sizes(leaf, sizes), inputs)
        size = None if first is None else jax_compat.evaluate_size(first, sizes)
        now = training.now if isinstance(training, TrainingFlag) else bool(training)
        whole = self.graph_for(specs, size, now, caller)
        if isinstance(training, TrainingFlag) and whole.training is not None:
            training = training.branch()
        graph = whole.restricted(paths)
        if capture is not None:
            capture.replayed(whole, graph.calls, first)
        return graph.run(inputs, training, first)[0]

    def refuse(self, graph: Graph, why: str) -> None:
        """Gives up a symbolic graph that cannot be made concrete: the next capture is for one batch size alone."""
        self._refused[graph.signature.tree, graph.signature.leaves] = f"its graph cannot be made concrete ({why})"
        self.graphs = [g for g in self.graphs if g is not graph]

    def is_current(self, graph: Graph) -> bool:
        """Whether nothing that ``call`` read has changed since the graph was captured."""
        return not graph.guards.changes()

    def _find(self, signature: Signature, batch_size: int | None, training: bool) -> Graph | None:
        sizes = {} if batch_size is None else {BATCH: batch_size}
        for graph in reversed(self.graphs):
            if graph.serves(signature, sizes, training) and self.is_current(graph):
                return graph
        return None

    def _capture(self, inputs: Any, signature: Signature, batch_size: int | None, training: bool, caller: str, warn: bool) -> Graph:
        reason, sentence = self._why(signature, batch_size, training)
        kind = (signature.tree, signature.leaves)
        started = time.perf_counter()
        try:
            graph, about = capture_layer(self.layer, inputs, batch_size, training, symbolic=kind not in self._refused)
        except Exception as error:
            raised = f"{sentence}, and it raised {type(error).__name__}"
            self.ledger.add(Run("capture", reason, raised, caller, str(signature), training, time.perf_counter() - started))
            raise
        if about.refused is not None:
            self._refused[kind] = f"{about.refused_place} needs to know the size"
            refused = f"{sentence}, but a symbolic batch was refused at {about.refused}"
            self.ledger.add(Run("capture", reason, refused, caller, str(signature), training, about.refused_seconds))
            reason = Reason.CONCRETE
            sentence = f"once more for batches of {batch_size}, because {self._refused[kind]}"
        run = Run(
            "capture", reason, sentence, caller, str(signature), graph.training, about.seconds, tuple(about.effects.found.values()), graph
        )
        self.ledger.add(run)
        self.graphs = [g for g in self.graphs if self.is_current(g)] + [graph]
        if warn:
            about.effects.warn()
        return graph

    def _why(self, signature: Signature, batch_size: int | None, training: bool) -> tuple[Reason, str]:
        if (signature.tree, signature.leaves) in self._refused:
            return Reason.CONCRETE, f"for batches of {batch_size} alone, because {self._refused[signature.tree, signature.leaves]}"
        if not self.graphs:
            return Reason.FIRST, "the first use, which also made the weights" if not self.layer.variables else "the first use"
        sizes = {} if batch_size is None else {BATCH: batch_size}
        same = [g for g in self.graphs if (g.signature.tree, g.signature.leaves) == (signature.tree, signature.leaves)]
        if not same:
            return Reason.INPUTS, difference(self.graphs[-1].signature, signature)
        graph = next((g for g in reversed(same) if g.serves(signature, sizes, training)), same[-1])
        changed: list[Guard] = graph.guards.changes()
        if changed:
            return Reason.ATTRIBUTE, f"{' and '.join(g.sentence() for g in changed[:3])}; make it a Variable to avoid a new capture"
        if graph.training is not None and graph.training != training:
            return Reason.TRAINING, f"`call` branches on `training` at {graph.training_place}, and training is {training} now"
        failed = next(g for g in graph.size_guards if not g.holds(sizes))
        return Reason.SIZE, f"`call` asks {failed}, which has another answer for a batch of {batch_size}"


def _at_sizes(leaf: Any, sizes: dict[str, int]) -> Any:
    if not hasattr(leaf, "shape"):
        return leaf
    return jax.ShapeDtypeStruct(tuple(jax_compat.evaluate_size(d, sizes) for d in leaf.shape), leaf.dtype)


def difference(before: Signature, now: Signature) -> str:
    """What two signatures differ in, in words."""
    if before.tree != now.tree:
        return f"the structure of the inputs is {_structure(now)}, before {_structure(before)}"
    paths = jax.tree_util.tree_flatten_with_path(jax.tree.unflatten(now.tree, range(len(now.leaves))))[0]
    parts = []
    for (path, _), old, new in zip(paths, before.leaves, now.leaves, strict=True):
        if old == new:
            continue
        name = f"input{jax.tree_util.keystr(path)}" if path else "the input"
        if "value" in (old[0], new[0]):
            parts.append(f"{name} is {new[1]!r}, before {old[1]!r}")
        elif len(old[0]) != len(new[0]):
            parts.append(f"{name} has {len(new[0])} axes, before {len(old[0])}")
        elif old[0] != new[0]:
            parts.append(f"{name} has shape {new[0]}, before {old[0]}")
        else:
            parts.append(f"{name} has dtype {new[1]}, before {old[1]}")
    return " and ".join(parts)


def _structure(signature: Signature) -> str:
    return str(signature.tree).removeprefix("PyTreeDef(").removesuffix(")")
