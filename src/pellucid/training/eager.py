"""``run_eagerly=True``: ``call`` runs in Python on every step."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from pellucid.core.frame import Frame
from pellucid.core.jax_compat import user_place
from pellucid.core.layer import Layer
from pellucid.core.variable import Variable
from pellucid.graph.capture import all_or_nothing
from pellucid.graph.graph import output_names
from pellucid.graph.ledger import Reason, Run
from pellucid.graph.signature import signature_of
from pellucid.training import nonfinite, steps
from pellucid.training.batch_logs import BatchLogs, Logs
from pellucid.training.compiled import Objective
from pellucid.training.data import ArrayData, Block
from pellucid.training.data.feed import Plan
from pellucid.training.machine import Machine
from pellucid.training.own_step import StepLayer, pack, running
from pellucid.training.programs import Form


class EagerRunner:
    """Runs ``call`` in Python on every step, with the same steps as the compiled ones.

    It stands for the objective until the first outputs are there, which say what losses and metrics are matched with.
    """

    in_flight = 0

    def __init__(self, machine: Machine, purpose: str, data: ArrayData, batch_size: int, caller: str, told: bool = False):
        self._told = BatchLogs(self) if told else None
        self._of_batch: dict[str, Any] | None = None  # losses and metrics of the last batch alone, where they are wanted
        self.machine, self.purpose, self.data, self.caller = machine, purpose, data, caller
        self.batch_size = min(batch_size, data.rows)
        self.form = Form(self.batch_size, 1, False, False)
        self.objective: Objective | None = None
        self.own = machine.own_step(purpose)
        self._names: list[str] = []
        self._trained: set[Variable] | None = None  # where a step may begin again
        self._epoch = self._steps = 0
        self._place = user_place(sys._getframe(1))

    def _call(self, x: Any) -> tuple[Any, list[Any]]:
        layer, training, watch = self.machine.layer, self.purpose == "train", _Makers()
        reason, sentence = Reason.EAGER, "run_eagerly=True runs `call` in Python on every step"
        started, raised = time.perf_counter(), None
        try:
            with all_or_nothing(layer), Frame(observer=watch) as frame:
                outputs = layer(x, training=training)
                written = {v: frame.values[v] for v in frame.written}
            again = training and self._trained is not None and not self._trained.issuperset(layer.trainable_variables)
            if again:
                reason, sentence = Reason.FIRST, "it made weights, which gradients need beforehand: the step began again"
        except BaseException as error:
            raised = type(error).__name__
            sentence += f", and it raised {raised}"
            raise
        finally:
            seconds, signature = time.perf_counter() - started, str(signature_of(x, None))
            run = Run("eager", reason, sentence, self.caller, signature, training, seconds, raised=raised, place=self._place)
            self.machine.captures.ledger.add(run)
        if again:
            raise _WeightsMade
        for variable, value in written.items():
            variable.assign(value)
        self._names = output_names(outputs, [watch.makers.get(id(leaf)) for leaf in jax.tree.leaves(outputs)])
        return outputs, watch.losses + ([] if self.purpose == "predict" else layer._penalties())

    # ---- The objective, once there are outputs ----

    def loss(self, y: Any, outputs: Any, sample_weight: Any, rows: Any, added: list[Any]) -> tuple[Any, list[Any]]:
        if self.objective is None:
            self.objective = self.machine.objective_for(outputs, self._names, y, bool(added), self.caller)
        return self.objective.loss(y, outputs, sample_weight, rows, added)

    def update_metrics(self, y: Any, outputs: Any, sample_weight: Any, rows: Any) -> None:
        assert self.objective is not None
        self.objective.update_metrics(y, outputs, sample_weight, rows)

    @property
    def metrics(self) -> list[Any]:
        assert self.objective is not None
        return self.objective.metrics

    def results(self) -> dict[str, Any]:
        assert self.objective is not None
        return self.objective.results()

    @property
    def tracker(self) -> Any:
        assert self.objective is not None
        return self.objective.tracker

    # ---- What the loop asks of a runner ----

    def plan(self) -> Plan:
        return Plan(self.batch_size, 1, False)

    def check(self) -> None:
        """Nothing is known before the first step."""

    def ahead(self) -> None:
        """Nothing is computed beside."""

    def reset(self, epoch: int = 0) -> None:
        objective = self.objective or self.machine.objective
        if objective is not None:
            objective.reset()
        self.machine.reset_own_metrics()
        self._epoch, self._steps = epoch, 0

    def settle(self, outputs: Any = None) -> None:
        """Nothing is in flight."""

    def abandon(self) -> None:
        """Nothing is in flight."""

    def logs(self, logs: dict[str, Any]) -> dict[str, Any]:
        return {k: float(v) if np.ndim(v) == 0 else np.asarray(v) for k, v in logs.items()}

    def logs_of_steps(self, logs: dict[str, Any], first: int, steps: int) -> list[Logs]:
        """The logs of the step."""
        means = self.logs(logs)
        return [Logs(means, dict(means) if self._of_batch is None else self.logs(self._of_batch))]

    def run(self, block: Block) -> Iterator[tuple[int, Any, Any]]:
        tree = jax.tree.structure(self.data.tree()) if block.kind is None else block.kind.tree
        batch = jax.tree.unflatten(tree, block.arrays)
        if self.own is not None:
            yield 1, self, self._own_step(batch)
            return
        if self.purpose == "predict":
            yield 1, self, self._call(batch[0])[0]
            return
        try:
            self._step(batch, block, self.machine.layer.trainable_variables)
        except _WeightsMade:
            self._step(batch, block, self.machine.layer.trainable_variables, again=True)
        assert self.objective is not None
        yield 1, self, {k: np.asarray(v) for k, v in self.objective.results().items()}

    def _own_step(self, batch: tuple) -> Any:
        """A step of the user's own in Python. What it assigns is assigned when all of it has succeeded."""
        layer = self.machine.layer
        known = set(layer.trainable_variables)
        for again in (False, True):
            token = running.set(self.own)
            try:
                with Frame() as frame:
                    outputs = StepLayer(layer, self.own).call(pack(*batch))  # type: ignore[arg-type]
                    written = {v: frame.values[v] for v in frame.written}
            except Exception:  # perhaps as there were gradients for the weights of before
                if again or known.issuperset(layer.trainable_variables):
                    raise
                continue
            finally:
                running.reset(token)
            if again or known.issuperset(layer.trainable_variables):  # else it made weights, of which it did not know beforehand
                break
        for variable, value in written.items():
            variable.assign(value)
        return outputs

    def _step(self, batch: tuple, block: Block, variables: list[Variable], again: bool = False) -> None:
        """A step whose new values are assigned when all of it has succeeded: a metric that raises leaves the weights as they were."""
        objective: Any = self._told or self
        settings = self.machine.need_settings(self.caller)
        self._trained = None if again else set(variables)
        if self.purpose == "train":
            step = steps.train_step(self._call, objective, settings.optimizer, variables, self.machine.layer.non_trainable_variables)
        else:
            step = steps.test_step(self._call, objective)
        with Frame() as frame:
            if self._told is None:
                step(batch, None, float(block.rows))
            else:
                self._of_batch = self._told.over(step)(batch, None, float(block.rows))["batch"]
            written = {v: frame.values[v] for v in frame.written}
        self._steps += 1
        if self.purpose == "train" and settings.nan == "raise":
            self._check(written, batch, block, variables)
        for variable, value in written.items():
            variable.assign(value)

    def _check(self, written: dict[Variable, Any], batch: tuple, block: Block, variables: list[Variable]) -> None:
        """Explains a step that was not finite. Nothing of it is assigned."""
        assert self.objective is not None
        before = {v: v.array for v in dict.fromkeys([*variables, *written])}
        if self.machine.finite_check(variables, self.objective)(before, before | written):
            return
        where = nonfinite.place_of(self.caller, self._epoch, self._steps)
        specs, tree = jax.tree.flatten(jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), batch))
        try:
            graph = self.machine.captures.graph_for(jax.tree.unflatten(tree, specs)[0], block.batch_size, True, self.caller, warn=False)
            form = Form(block.batch_size, 1, False, False)
            program = self.machine.make("train", graph, tree, specs, form, self.objective, tuple(variables))
            program.graph = graph
        except Exception as error:  # some Python runs eagerly only
            raise nonfinite.error_for(None, where) from error
        raise nonfinite.explained(program, program.step_inputs(block.arrays, 0, block.rows), where)


class _WeightsMade(Exception):
    """`call` made weights that are to be trained, in a step that knew nothing of them."""


class _Makers:
    """Observes an eager run of ``call``: which layer made which array, and the losses that layers add."""

    def __init__(self) -> None:
        self.makers: dict[int, str] = {}
        self.losses: list[Any] = []
        self._depth = 0
        self._alive: list[Any] = []  # an id is an array's own only while it lives

    @contextlib.contextmanager
    def layer_call(self, layer: Layer, args: tuple, kwargs: dict) -> Iterator[Any]:
        outermost, self._depth = self._depth == 0, self._depth + 1
        try:
            yield lambda outputs: outputs if outermost else self._note(layer, outputs)
        finally:
            self._depth -= 1

    def _note(self, layer: Layer, outputs: Any) -> Any:
        self._alive.append(outputs)
        self.makers.update({id(leaf): layer.path.split("/")[0] for leaf in jax.tree.leaves(outputs)})
        return outputs

    def losses_added(self, layer: Layer, losses: list | tuple) -> None:
        self.losses.extend(losses)
