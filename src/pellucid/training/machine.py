"""Machine: what a model has beside its layers: graphs, settings of ``compile``, programs."""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import jax

from pellucid.core.last_used import LastUsed
from pellucid.core.layer import Layer
from pellucid.core.variable import Variable
from pellucid.graph.cache import KEPT, GraphCache, captures_of
from pellucid.graph.graph import Graph
from pellucid.graph.signature import BATCH
from pellucid.metrics import Mean, Metric
from pellucid.optimizers import LossScaleOptimizer, Optimizer
from pellucid.training import steps
from pellucid.training.batch_logs import BatchLogs
from pellucid.training.compiled import Objective, Settings, kinds_of
from pellucid.training.nonfinite import FiniteCheck
from pellucid.training.own_step import StepLayer, computing_parts, metrics_of, own_step, pack
from pellucid.training.phases import Phases
from pellucid.training.programs import Action, Form, Program, choose_form
from pellucid.training.readings import Readings
from pellucid.training.reasons import Made, why

PROGRAMS = 64  # of a model; those that were used last
STEPS = 16  # of the user's own, with the settings that they were captured with; those that were used last
_REMEMBERED = 256  # contents of readings, and programs that were dropped: told when one is made again


class Machine:
    """Graphs, programs and settings of one model.

    Graphs, programs, losses and metrics are made again from the model and the settings when they are needed; the ledger, the means
    so far and the last history are not.
    """

    witnesses: ClassVar[list[list[Machine]]] = []  # lists that keep each machine that is made, for the command line
    on_fit: ClassVar[
        list[Callable[[Machine, Any, Any], object]]
    ] = []  # told of each fit: what it was given as x, and its source of batches

    def __init__(self, layer: Layer):
        for made in Machine.witnesses:
            made.append(self)
        self.layer = layer
        self.captures: GraphCache = captures_of(layer)
        self.settings: Settings | None = None
        self.stop_training = False
        self.history: Any = None
        self.parts: LastUsed[tuple[Graph, tuple[str, ...]], Any] = LastUsed(KEPT)  # models of inner values, with their programs
        self.phases: Phases | None = None  # of the last fit
        self.profile: Any = None  # the last one
        self.loss_mean: Metric | None = None  # of steps of the user's own
        self.objective: Objective | None = None  # the newest losses and metrics: for the outputs and targets that were new last
        self._programs: LastUsed[Any, Program] = LastUsed(PROGRAMS, self._drop)
        self._numbered: list[tuple[list, int]] = []  # contents of readings, used last at the end
        self._forget()
        self._lock = threading.RLock()
        self._trainable_at: tuple[Any, tuple[Variable, ...]] | None = None
        self._in_epoch = False
        self._made: dict[str, Made] = {}  # the last program of each purpose
        self._settings_count = 0
        self._graph_numbers: weakref.WeakKeyDictionary[Graph, int] = weakref.WeakKeyDictionary()
        self._counter = itertools.count()

    def compile(self, settings: Settings) -> None:
        """Takes new settings. Programs made with the old ones are dropped, graphs stay."""
        with self._lock:
            self.settings = settings
            self.loss_mean = Mean(name="loss")
            self._settings_count += 1
            self._forget()
            self._programs.keep(lambda key, _: key[0] == "predict")

    def _forget(self) -> None:
        """What was made of the settings before."""
        self.objective = None
        self._dropped: LastUsed[tuple, bool] = LastUsed(_REMEMBERED)  # programs, and graphs of steps of the user's own
        self._objectives: LastUsed[Any, Objective] = LastUsed(KEPT)
        self._own_steps: LastUsed[tuple[str, int], GraphCache] = LastUsed(STEPS, self._drop)
        self._flushes: dict[Optimizer, tuple[Any, Action]] = {}

    def _drop(self, key: tuple, value: Program | GraphCache) -> None:
        """Remembers what goes because others were used since."""
        self._dropped.put(key if isinstance(value, GraphCache) else value.made, True)

    def kept(self) -> tuple:
        """What a copy of the model takes over: settings, the optimizer's state among them. Graphs, programs and ledger start anew."""
        return self.settings, self.captures.max_captures, self.captures.on_side_effect

    def restore(self, kept: tuple) -> None:
        """Takes over what ``kept`` gave."""
        settings, self.captures.max_captures, self.captures.on_side_effect = kept
        if settings is not None:
            self.compile(settings)

    def need_settings(self, where: str) -> Settings:
        """The settings, or an error that says to call ``compile``."""
        if self.settings is None:
            raise ValueError(
                f"{where}: the model has no loss and optimizer yet. Call model.compile(optimizer='sgd', loss='mse') (or others) first."
            )
        return self.settings

    def objective_for(self, outputs: Any, names: list[str], y: Any, with_losses: bool, where: str) -> Objective:
        """Losses and metrics matched with outputs; the same ones for the same structures, also at other lengths."""
        settings = self.need_settings(where)
        leaves, tree = jax.tree.flatten(outputs)
        kinds = kinds_of(leaves, jax.tree.leaves(y))
        held = metrics_of(self.layer)
        key = (tree, tuple(names), jax.tree.structure(y), kinds, with_losses, tuple(held))
        with self._lock:
            found = self._objectives.get(key)
            if found is None:
                found = self.objective = Objective(settings, outputs, names, y, with_losses, held)
                self._objectives.put(key, found)
            return found

    @contextlib.contextmanager
    def epoch(self) -> Iterator[None]:
        """While it lasts, the means of losses and metrics are those of an epoch of training."""
        before, self._in_epoch = self._in_epoch, True
        try:
            yield
        finally:
            self._in_epoch = before

    @contextlib.contextmanager
    def means_of_an_epoch_kept(self) -> Iterator[None]:
        """Where an epoch is under way, a callback does what is inside: it has means of its own, the epoch gets its own back."""
        if not self._in_epoch:
            yield
            return
        kept = [(v, v.value) for v in dict.fromkeys([*(v for o in self._objectives.values() for v in o.variables), *self._own_means()])]
        for objective in self._objectives.values():
            objective.reset()
        self.reset_own_metrics()
        self._in_epoch = False
        try:
            yield
        finally:
            self._in_epoch = True
            for variable, value in kept:
                variable.assign(value)

    # ---- Steps of the user's own ----

    def own_step(self, purpose: str) -> str | None:
        """The name of the step that is the user's, such as "train_step", or None."""
        return own_step(self.layer, purpose)

    def own_captures(self, purpose: str, readings: Readings) -> GraphCache:
        """The graphs of a step of the user's own, for what losses, metrics and optimizers are now."""
        function = self.own_step(purpose)
        assert function is not None
        with self._lock:
            key = purpose, self._number_of(readings)
            cache = self._own_steps.get(key)
            if cache is None:
                known = any(of == purpose and cache.last is not None for (of, _), cache in self._own_steps.items())
                because = "a number or setting that losses, metrics or the optimizer hold has changed" if known else None
                if key in self._dropped:
                    because = f"its graphs were dropped: a model keeps those of the {STEPS} steps and settings that it used last"
                cache = GraphCache(StepLayer(self.layer, function), self.captures.ledger, function, because)
                self._own_steps.put(key, cache)
        cache.on_side_effect = self.captures.on_side_effect
        return cache

    def own_graph(self, purpose: str, batch: tuple, batch_size: int, readings: Readings, caller: str) -> Graph:
        """The graph of a step of the user's own. Where the model has a ``call`` and no weights yet, that makes them first.

        Args:
            purpose: "train", "test" or "predict".
            batch: ``(x, y, sample_weight)`` as ``ShapeDtypeStruct``s.
            batch_size: the present one.
            readings: of losses, metrics and optimizers.
            caller: for the ledger.
        """
        captures = self.own_captures(purpose, readings)
        if not self.layer.built and not getattr(self.layer.call, "is_built_in", False):
            self.captures.graph_for(batch[0], batch_size, purpose == "train", caller)
        graph = captures.graph_for(pack(*batch), batch_size, False, caller)
        if graph.looked_too_early is not None:
            captures.drop(graph, f"the first run made weights after it had looked at them, at {graph.looked_too_early}")
            graph = captures.graph_for(pack(*batch), batch_size, False, caller)
        return graph

    # ---- What optimizers do at an end ----

    def optimizers(self) -> list[Optimizer]:
        """That of ``compile``, and those in attributes, which steps of the user's own use."""
        given = [] if self.settings is None else [self.settings.optimizer]
        held = [x for x in computing_parts(self.layer) if isinstance(x, Optimizer)] if self.own_step("train") else []
        return list(dict.fromkeys([*given, *held]))

    def apply_waiting_gradients(self) -> None:
        """An epoch ends: what ``gradient_accumulation_steps`` have gathered by then is applied."""
        own = self.own_step("train")
        for optimizer in self.optimizers():
            if not optimizer.gradient_accumulation_steps:
                continue
            variables = optimizer.built_for if own else tuple(self.layer.trainable_variables)
            if not variables:
                continue
            if self.need_settings("fit").run_eagerly:
                optimizer.flush(variables)
                continue
            key = (optimizer.rule(), variables, Readings(v.constraint for v in variables).content)
            if self._flushes.get(optimizer, (None,))[0] != key:
                self._flushes[optimizer] = key, Action(functools.partial(optimizer.flush, variables))
            self._flushes[optimizer][1]()

    def finalize_weights(self) -> None:
        """Training ends: where an optimizer keeps moving averages, the weights become them."""
        for optimizer in self.optimizers():
            if optimizer.use_ema:
                optimizer.finalize_variable_values(self.layer.trainable_variables)

    def _own_means(self) -> list[Variable]:
        if not any(self.own_step(purpose) for purpose in ("train", "test")):
            return []
        return self._states_of_metrics()

    def reset_own_metrics(self) -> None:
        """Starts the metrics of steps of the user's own anew."""
        if self._own_means():
            for metric in self.layer.metrics:  # type: ignore[attr-defined]
                metric.reset_state()

    # ---- Programs ----

    def program(
        self,
        purpose: str,
        graph: Graph,
        batch: tuple,
        form: Form,
        objective: Objective | None,
        readings: Readings,
        use: str,
        note: str = "",
        last: bool = False,
    ) -> Program:
        """The program for a purpose ("train", "test", "predict") on blocks of a form; compiled when it is first dispatched.

        Args:
            purpose: what a step does.
            graph: what it computes.
            batch: ``(x, y, sample_weight)`` as ``ShapeDtypeStruct``s at the batch size.
            form: of the blocks.
            objective: losses and metrics, where the purpose needs them.
            readings: of losses, metrics and optimizer.
            use: what it is needed for, in the ledger's words.
            note: the end of the ledger's sentence.
            last: whether it is for a smaller last batch, beside another program.
        """
        own = self.own_step(purpose)
        variables = self._trainable(graph) if purpose == "train" and own is None else ()
        if purpose == "test" and own is None:
            variables = tuple(v for v in self._trainable(graph) if v.regularizer is not None)
        specs, tree = jax.tree.flatten(batch)
        slots = tuple(self.need_settings("fit").optimizer.slots(variables)) if purpose == "train" and own is None else ()
        shapes = tuple((s.shape, str(s.dtype)) for s in specs)
        with self._lock:
            number = self._number_of(readings)
            key = (purpose, graph, form, tree, shapes, objective, number, variables, slots)
            found = self._programs.get(key)
            if found is None:
                lengths = graph.sizes_of(batch[0] if own is None else pack(*batch))
                lengths.pop(BATCH, None)
                paths = tuple(v.path for v in variables)
                made = Made(form, self._settings_count, self._number_of_graph(graph), shapes, number, paths, tuple(lengths.items()))
                started = time.perf_counter()
                with self.noticing_no_change(readings):
                    program = self.make(purpose, graph, tree, specs, form, objective, variables)
                tracing = time.perf_counter() - started
                program.entry = self.captures.ledger.new_program(purpose, form.batch_size, "", tracing, form.at_once(2) > 1, lengths)
                program.compiled = functools.partial(self._enter, program, use, note, last)
                program.graph = graph
                program.made = purpose, made
                alive = [*self.captures.graphs, *(g for own in self._own_steps.values() for g in own.graphs)]
                self._programs.keep(lambda _, known: known.graph in alive)
                self._programs.put(key, found := program)
            return found

    def _enter(self, program: Program, use: str, note: str, last: bool) -> None:
        """Tells the ledger of a program that was compiled, and why: not each that is made is dispatched, nor in the order of making."""
        purpose, made = program.made
        with self._lock:
            reason = f"compiled again for {use}" if last else self._reason(purpose, made, program.graph, use)
        program.entry.reason = reason + note
        self.captures.ledger.add_program(program.entry, program.graph)

    def _reason(self, purpose: str, made: Made, graph: Graph, use: str) -> str:
        """Why a program is compiled, which is noted as the last one with its purpose."""
        before, self._made[purpose] = self._made.get(purpose), made
        changed = why(before, made, self.captures.ledger.run_of(graph))
        if (purpose, made) in self._dropped:
            changed = f"its program was dropped: a model keeps the {PROGRAMS} programs that it used last"
        return f"compiled again for {use}, because {changed}" if changed else f"compiled for {use}"

    def _number_of_graph(self, graph: Graph) -> int:
        return self._graph_numbers.setdefault(graph, next(self._counter))

    def readings(self, purpose: str, objective: Objective | None) -> Readings:
        """What losses, metrics and optimizer have as plain Python values, which may be assigned at any time."""
        settings = self.need_settings("fit") if purpose == "train" else self.settings
        optimizer = settings.optimizer if settings is not None and purpose == "train" else None
        more: Any = list if purpose == "predict" else functools.partial(self._of_weights, optimizer is not None)
        if self.own_step(purpose):
            given = None if settings is None else settings.loss
            return Readings((x for x in (optimizer, given, *computing_parts(self.layer)) if x is not None), more)
        if objective is None:
            return Readings(())
        return Readings([*objective.computing_parts(), *([] if optimizer is None else [optimizer])], more)

    def _of_weights(self, constraints: bool) -> list[Any]:
        """The regularizers of the trained weights (and the constraints), in their order, where there are any."""
        weights = self._trainable(self.captures.last)
        found = [v.regularizer for v in weights] + [v.constraint for v in weights if constraints]
        return found if any(f is not None for f in found) else []

    def adds_losses(self, graph: Graph) -> bool:
        """Whether there is more to minimise than the losses of ``compile``: of ``add_loss``, of regularizers."""
        return graph.losses > 0 or any(v.regularizer is not None for v in self._trainable(graph))

    def _number_of(self, readings: Readings) -> int:
        """A number for equal contents, which cannot be keys themselves."""
        with self._lock:
            entry = next((e for e in reversed(self._numbered) if e[0] == readings.content), None)
            entry = entry or (readings.content, next(self._counter))
            self._numbered = [*(e for e in self._numbered[1 - _REMEMBERED :] if e is not entry), entry]
            return entry[1]

    @contextlib.contextmanager
    def noticing_no_change(self, readings: Readings) -> Iterator[None]:
        """What a loss changes itself when it is traced inside, such as a list that it appends to, is no change."""
        yield
        if readings.may_have_changed():
            number, now = self._number_of(readings), readings.again()
            if now.content != readings.content:
                self._numbered = [*self._numbered[1 - _REMEMBERED :], (now.content, number)]

    def _trainable(self, graph: Graph | None) -> tuple[Variable, ...]:
        """The variables that an optimizer changes now. To find them takes a walk over all layers: once for each change."""
        now = (Layer.version, Variable.version, graph and weakref.ref(graph))
        if self._trainable_at is None or self._trainable_at[0] != now:
            self._trainable_at = now, tuple(self.layer.trainable_variables)
        return self._trainable_at[1]

    def make(
        self, purpose: str, graph: Graph, tree: Any, specs: list, form: Form, objective: Objective | None, variables: tuple
    ) -> Program:
        """A new program; see ``program``."""

        def forward(x: Any) -> tuple[Any, list[Any]]:
            outputs, losses = graph.run(x, purpose == "train", form.batch_size)
            return outputs, losses + ([] if purpose == "predict" else self.layer._penalties())

        watched = purpose == "train" and self.settings is not None and self.settings.nan == "raise"
        if self.own_step(purpose):
            losses = [] if self.loss_mean is None else self.loss_mean.variables
            weights = [v for v in graph.writes if v.trainable]
            check = FiniteCheck(weights, losses, self._states_of_metrics(), self._loss_scales(graph.writes)) if watched else None
            return Program(steps.own_step(graph, form.batch_size), tree, specs, form, None if purpose == "predict" else "last", check)
        if purpose == "predict":
            return Program(steps.predict_step(forward), tree, specs, form)
        assert objective is not None
        assert self.settings is not None
        told = BatchLogs(objective) if form.told else None
        used: Any = told or objective
        if purpose == "train":
            step = steps.train_step(forward, used, self.settings.optimizer, variables, graph.writes)
        else:
            step = steps.test_step(forward, used)
        step = step if told is None else told.over(step)
        check = self.finite_check(variables, objective) if watched else None
        return Program(step, tree, specs, form, objective.results, check)

    def finite_check(self, weights: Sequence[Variable], objective: Objective) -> FiniteCheck:
        """What a step of training must leave finite: losses, weights, and all other variables but the states of metrics."""
        states = [*objective.variables, *self._states_of_metrics()]
        return FiniteCheck(weights, [objective.tracker.state], states, self._loss_scales())

    def _loss_scales(self, written: Sequence[Variable] | None = None) -> list[Variable]:
        """Of the optimizers that scale losses by themselves, where a step writes them."""
        scales = [o.dynamic_scale for o in self.optimizers() if isinstance(o, LossScaleOptimizer)]
        return [s for s in scales if written is None or s in set(written)]

    def _states_of_metrics(self) -> list[Variable]:
        return [v for m in self.layer.metrics for v in m.variables]  # type: ignore[attr-defined]

    def form(
        self,
        purpose: str,
        graph: Graph,
        sizes: dict[str, int],
        batch_size: int,
        batches: int,
        bytes_a_batch: int,
        masked: bool,
        each_step: bool,
        whole: int = 0,
    ) -> Form:
        """How blocks are laid out. A program that exists for longer or shorter epochs is used again."""
        wanted: Any = 1 if each_step else "auto" if self.settings is None else self.settings.steps_per_execution
        for key, program in self._programs.items():
            made: Form = program.form
            fits = made.batch_size == batch_size and made.masked == masked and made.loop and made.capacity * 8 >= min(batches, 64)
            if key[:2] == (purpose, graph) and wanted == "auto" and batches > 1 and fits:
                return made
        training = purpose == "train" and not self.own_step(purpose)
        written_out = whole if training and self.need_settings("fit").nan is None else 0  # a check repeats steps one by one
        return choose_form(graph.cost(sizes), batch_size, batches, bytes_a_batch, masked, wanted, training, written_out)
