"""The graphs of one layer or model: finds the one that serves, or captures anew and says why."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Container
from typing import Any

import jax

from pellucid.core import frame, jax_compat
from pellucid.core.jax_compat import Place, user_place
from pellucid.core.last_used import LastUsed
from pellucid.core.layer import Layer
from pellucid.core.mode import TrainingFlag
from pellucid.errors import CaptureBudgetError
from pellucid.graph.capture import Capture, capture_layer, lock
from pellucid.graph.diff import lengths_difference, signature_difference
from pellucid.graph.graph import Graph
from pellucid.graph.guards import Guard, VariableGuard
from pellucid.graph.ledger import Ledger, Reason, Run
from pellucid.graph.same import same
from pellucid.graph.signature import BATCH, Open, Signature, axes_of_lengths, signature_of

KEPT = 32  # graphs of a model; those that were used last
_REMEMBERED = 256  # graphs that were dropped or of no use, and why: told when one is captured again


def captures_of(layer: Layer) -> GraphCache:
    """The graphs of a layer."""
    if layer._state.captures is None:
        layer._state.captures = GraphCache(layer)
    return layer._state.captures


class GraphCache:
    """The graphs of a model that serve, newest last, and its ledger.

    A graph is dropped when something that ``call`` read has changed, or when 32 others were used since.

    Args:
        layer: that is captured.
        ledger: where runs are entered, one of its own by default.
        of: what its ``call`` stands for: a step of the user's own, such as "train_step", has graphs as well.
        because: why the first capture is none of the first, where other graphs of the same did not serve.
    """

    def __init__(self, layer: Layer, ledger: Ledger | None = None, of: str = "call", because: str | None = None):
        self.layer, self.of, self._because = layer, of, because
        self.ledger = Ledger(type(layer).__name__) if ledger is None else ledger
        self.graphs: list[Graph] = []
        self.max_captures: int | None = None
        self.on_side_effect = "warn"  # or "error" or "ignore"
        self._captured = 0
        self._told: set[tuple[str, Place]] = set()  # kinds and places of side effects
        self._signature: Signature | None = None  # of the last capture
        self._used: dict[Graph, int] = {}
        self._clock = itertools.count()
        # signatures whose symbolic graph was of no use, with the sizes that must be numbers, and why
        self._refused: LastUsed[tuple, tuple[frozenset[str], str]] = LastUsed(_REMEMBERED)
        self._lengths: LastUsed[tuple, tuple[Signature, Signature]] = LastUsed(
            _REMEMBERED
        )  # of each kind the last, in numbers and in names
        self._dropped: LastUsed[tuple, tuple[Reason, str]] = LastUsed(_REMEMBERED)

    @property
    def last(self) -> Graph | None:
        """The newest graph."""
        return self.graphs[-1] if self.graphs else None

    def graph_for(self, inputs: Any, batch_size: int | None, training: bool, caller: str, warn: bool = True, opens: bool = True) -> Graph:
        """The graph that serves inputs of these types at this batch size and mode. Captures only where none does.

        Args:
            inputs: structure of arrays or ``ShapeDtypeStruct``s; a size that is ``Open`` is a symbol in a capture.
            batch_size: the present size of the first axes.
            training: the present mode.
            caller: who asks, for the ledger.
            warn: whether side effects are worth a warning: not where steps run eagerly and repeat them.
            opens: whether a size that was another one in the last capture is open from now on.

        Raises:
            CaptureBudgetError: where ``compile(max_captures=…)`` allows no further capture. Nothing has changed then.
            whatever ``call`` raises.
        """
        signature = signature_of(inputs, batch_size)
        found = self._find(signature, batch_size, training)
        if found is not None:
            return found
        with lock:  # another thread may have captured it in the meantime
            found = self._find(signature, batch_size, training)
            return found if found is not None else self._capture(inputs, signature, batch_size, training, caller, warn, opens)

    def run(self, inputs: Any, training: Any, paths: list[str] | None, caller: str) -> Any:
        """The outputs for inputs. In the capture of another model the equations become part of that one, and so do the losses."""
        return self.outputs_and_losses(inputs, training, paths, caller)[0]

    def outputs_and_losses(self, inputs: Any, training: Any, paths: list[str] | None, caller: str) -> tuple[Any, list[Any]]:
        """The outputs for inputs, and the losses that layers add; see ``run``.

        Args:
            inputs: structure of arrays.
            training: the mode, or the flag of a capture.
            paths: of the nodes whose values are wanted, a list, in place of the outputs.
            caller: who asks, for the ledger.
        """
        watcher = frame.observer()
        capture = watcher if isinstance(watcher, Capture) else None
        first = next((leaf.shape[0] for leaf in jax.tree.leaves(inputs) if getattr(leaf, "shape", ())), None)
        sizes = {} if capture is None else capture.sizes
        specs = jax.tree.map(lambda leaf: _at_sizes(leaf, sizes), inputs)
        size = None if first is None else _present(first, sizes)
        now = training.now if isinstance(training, TrainingFlag) else bool(training)
        whole = self.graph_for(specs, size, now, caller, opens=capture is None)
        if isinstance(training, TrainingFlag) and whole.training is not None:
            training.on_branch(whole.training_place)
            training = training.now
        graph = whole if paths is None else whole.restricted(paths)
        if capture is not None:
            capture.replayed(whole, graph.calls, {**whole.sizes_of(inputs), BATCH: first})
        outputs, losses = graph.run(inputs, training, first)
        if capture is not None:
            capture.losses_replayed(self.layer, losses)
        return outputs, losses

    def refuse(self, graph: Graph, why: str) -> None:
        """Gives up a symbolic graph that cannot be made concrete: the next capture is for its sizes alone."""
        with lock:
            names = frozenset([BATCH, *graph.signature.lengths])
            self._refused.put((graph.signature.tree, graph.signature.leaves), (names, f"its graph cannot be made concrete ({why})"))
            self._keep([g for g in self.graphs if g is not graph])

    def drop(self, graph: Graph, why: str) -> None:
        """Gives up a graph: the next capture tells why."""
        with lock:
            self._dropped.put((graph.signature, graph.training), (Reason.DROPPED, why))
            self._keep([g for g in self.graphs if g is not graph])

    def is_current(self, graph: Graph, contents: bool = True) -> bool:
        """Whether nothing that ``call`` read has changed since the graph was captured, with or without the contents of arrays."""
        return not graph.guards.changes(contents)

    def _find(self, signature: Signature, batch_size: int | None, training: bool) -> Graph | None:
        """Of several graphs that serve, the one with the fewest open sizes: its programs were there first."""
        graphs = self.graphs if len(self.graphs) == 1 else sorted(reversed(self.graphs), key=lambda g: len(g.signature.lengths))
        for graph in graphs:
            if graph.serves(signature, batch_size, training) and self.is_current(graph):
                self._used[graph] = next(self._clock)
                return graph
        return None

    def _opened(self, signature: Signature, opens: bool) -> tuple[Signature, str]:
        """A signature with names for the open sizes; and why, where these are others than before."""
        if not opens:
            return signature.opened(()), ""
        declared = self.layer._open_axes(jax.tree.unflatten(signature.tree, range(len(signature.leaves))))
        last = self._lengths.get(signature.kind)
        if last is None:  # of other types of data, such as `build` assumed, the same sizes are open
            alike = next((names for _, names in reversed(self._lengths.values()) if names.ranks == signature.ranks), None)
            return signature.opened((), declared | (alike.open_axes if alike is not None else set())), ""
        before, names = last
        if names.sizes_in(signature) is not None:
            return names, ""
        more = axes_of_lengths(before, signature, {d for v in self.layer.weights for d in v.shape})
        opened = signature.opened(names.open_axes | more, declared)
        return opened, lengths_difference(before, signature, opened) if opened.lengths else ""

    # ---- Capturing ----

    def _capture(
        self, inputs: Any, given: Signature, batch_size: int | None, training: bool, caller: str, warn: bool, opens: bool
    ) -> Graph:
        signature, other_lengths = self._opened(given, opens)
        sizes = {**({} if batch_size is None else {BATCH: batch_size}), **(signature.sizes_in(given) or {})}
        reason, why = self._why(signature, sizes, training, other_lengths)
        sentence = self._begins(reason, why)
        self._check_budget(sentence)
        kind, place = (signature.tree, signature.leaves), user_place(sys._getframe(2))
        fixed = (self._refused.get(kind) or (frozenset[str](), ""))[0]
        strict = warn and self.on_side_effect == "error"
        started, weights = time.perf_counter(), len(self.layer.weights)

        def enter(sentence: str, training: bool | None, seconds: float, raised: str | None = None) -> Run:
            run = Run("capture", reason, sentence, caller, str(signature), training, seconds, raised=raised, place=place, of=self.of)
            return self.ledger.add(run)

        def refused(at: Place | None, what: str, seconds: float, names: frozenset[str] | None) -> None:
            nonlocal reason, sentence
            needs = f"{at or 'an operation of a layer'} needs to know the size"
            symbol = "batch" if BATCH in (names if names is not None else signature.lengths or (BATCH,)) else "length"
            enter(f"{sentence}, but a symbolic {symbol} was refused{f' at {at}' if at else ''} ({what})", training, seconds, "refused")
            self._captured += 1
            if names is None:
                reason, sentence = Reason.SIZE, f"captured once more for sizes that are equal where those of now are, because {needs}"
            else:
                self._refused.put(kind, (names, needs))
                reason, sentence = Reason.CONCRETE, f"captured once more for {told_sizes(names, sizes)}, because {needs}"
            self._check_budget(sentence)

        try:
            guessed = bool(other_lengths) or (opens and signature.lengths != given.opened(()).lengths)
            graph, about = capture_layer(
                self.layer, inputs, batch_size, training, signature, fixed, refused, strict, self.of == "call", guessed
            )
        except CaptureBudgetError:
            raise
        except BaseException as error:
            raised = type(error).__name__
            enter(f"{sentence}, and it raised {raised}", training, time.perf_counter() - started, raised)
            raise
        if reason is Reason.FIRST and len(self.layer.weights) > weights:
            sentence += ", which also made the weights"
        graph, same_as = self._known(graph)
        if same_as:
            sentence += "; it computes what it did before, so that its programs stay"
        run = enter(sentence, graph.training, about.seconds)
        run.effects, run.graph = tuple(about.effects.found.values()), graph
        self._captured += 1
        if opens:
            self._lengths.put(given.kind, (given, signature))
        self._keep([g for g in self.graphs if g is not graph], graph)
        if warn and self.on_side_effect == "warn":
            about.effects.warn(self._told)
        return graph

    def _known(self, graph: Graph) -> tuple[Graph, bool]:
        """A graph that is to be replaced and computes the same, with what guards it now; else the new one."""
        for old in reversed(self.graphs):
            if not self.is_current(old) and not old.guards.changed_inside() and same(old, graph):  # both may hold the array itself
                old.guards = graph.guards
                return old, True
        return graph, False

    def _keep(self, graphs: list[Graph], new: Graph | None = None) -> None:
        """Keeps a new graph and those of the others that still serve, ``KEPT`` in all; remembers why others go."""
        kept = []
        for graph in graphs:
            changed = graph.guards.changes()
            if changed:
                self._remember(graph, Reason.ATTRIBUTE, _changes(changed))
            else:
                kept.append(graph)
        for graph in sorted(kept, key=lambda g: self._used.get(g, -1))[: max(0, len(kept) - KEPT + 1)]:
            self._remember(graph, Reason.DROPPED, f"its graph was dropped: a model keeps the {KEPT} graphs that it used last")
            kept.remove(graph)
        if new is not None:
            kept.append(new)
            self._used[new], self._signature = next(self._clock), new.signature
            self._dropped.drop((new.signature, new.training))
        self.graphs = kept
        self._used = {g: self._used.get(g, -1) for g in kept}

    def _remember(self, graph: Graph, reason: Reason, why: str) -> None:
        if graph.size_guards:  # it was good for some sizes only
            return
        self._dropped.put((graph.signature, graph.training), (reason, why))

    def _check_budget(self, sentence: str) -> None:
        """Raises where ``call`` may not be captured once more."""
        allowed = self.max_captures
        if allowed is not None and self._captured >= allowed:
            raise CaptureBudgetError(
                f"`{self.of}` of {self.ledger.name} would be {sentence}. compile(max_captures={allowed}) allows "
                f"{allowed} capture{'' if allowed == 1 else 's'} in all; model.explain() tells of the earlier ones."
            )

    # ---- Why ----

    def _begins(self, reason: Reason, why: str) -> str:
        """The whole sentence."""
        if reason is Reason.FIRST:
            return "captured for the first time"
        again = "a second time" if reason is Reason.TRAINING and self._captured == 1 else "again"
        return f"captured {again} {'for' if reason is Reason.CONCRETE else 'because'} {why}"

    def _why(self, signature: Signature, sizes: dict[str, int], training: bool, other_lengths: str) -> tuple[Reason, str]:
        refused = self._refused.get((signature.tree, signature.leaves))
        if refused is not None:
            alone = signature.fixed(refused[0], sizes)
            dropped = self._dropped.get((alone, training)) or self._dropped.get((alone, None))
            if dropped is not None and dropped[0] is Reason.DROPPED:
                return dropped
            return Reason.CONCRETE, f"{told_sizes(refused[0], sizes)} alone, because {refused[1]}"
        same = [g for g in self.graphs if (g.signature.tree, g.signature.leaves) == (signature.tree, signature.leaves)]
        fits = (g for g in reversed(same) if g.holds(sizes) and g.training in (None, training))
        graph = next(fits, same[-1] if same else None)
        changed = graph.guards.changes() if graph is not None else []
        if changed:
            return Reason.ATTRIBUTE, _changes(changed)
        dropped = self._dropped.get((signature, training)) or self._dropped.get((signature, None))
        if dropped is not None:
            return dropped
        if self._signature is None and self._because is not None:
            return Reason.ATTRIBUTE, self._because
        if self._signature is None:
            return Reason.FIRST, ""
        if graph is None:
            return (Reason.LENGTH, other_lengths) if other_lengths else (Reason.INPUTS, signature_difference(self._signature, signature))
        if graph.training is not None and graph.training != training:
            return Reason.TRAINING, f"`call` branches on `training` at {graph.training_place}, and training is {training} now"
        failed = next(g for g in graph.size_guards if not g.holds(sizes))
        now = told_sizes(failed.names, sizes, "a batch")
        return Reason.SIZE, f"`call` asks {failed}, which has another answer for {now}"


def told_sizes(names: Container[str], sizes: dict[str, int], batch: str = "batches") -> str:
    """``batches of 32 and length 12``: the values of some open sizes."""
    told = [f"{batch} of {sizes.get(BATCH)}"] if BATCH in names else []
    return " and ".join([*told, *(f"{name.replace('_', ' ')} {size}" for name, size in sizes.items() if name != BATCH and name in names)])


def _changes(changed: list[Guard]) -> str:
    cure = "; make it a Variable to avoid this" if any(g.is_number() for g in changed) else ""
    return " and ".join(dict.fromkeys(g.sentence() for g in _closest(changed)[:3])) + cure


def _closest(changed: list[Guard]) -> list[Guard]:
    """Without those that say of a class what another one says of its layer."""
    return [g for g in changed if not (isinstance(g, VariableGuard) and g.kind == "class")] or changed


def _at_sizes(leaf: Any, sizes: dict[str, int]) -> Any:
    if not hasattr(leaf, "shape"):
        return leaf
    return jax.ShapeDtypeStruct(tuple(_present(d, sizes) for d in leaf.shape), leaf.dtype)


def _present(size: Any, sizes: dict[str, int]) -> int:
    """What a size of the capture around is at present; where it is symbolic, it is open here."""
    now = jax_compat.evaluate_size(size, sizes)
    return Open(now, size) if isinstance(size, jax_compat.SymbolicSize) else now
