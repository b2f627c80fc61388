"""Model: a layer with ``compile``, ``fit``, ``evaluate`` and ``predict``, and with the graph and ledger of its ``call``."""

from __future__ import annotations

import contextvars
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from pellucid import optimizers
from pellucid.core import frame
from pellucid.core.checks import check_flags, check_path, check_whole
from pellucid.core.explain import filtered
from pellucid.core.files import write_whole
from pellucid.core.given import Given
from pellucid.core.jax_compat import user_place
from pellucid.core.layer import Held, is_calling
from pellucid.core.variable import Variable
from pellucid.errors import DataError
from pellucid.graph.capture import Capture, signature_of
from pellucid.graph.graph import Arguments, Graph, output_names
from pellucid.graph.inputs import rows_of, specs_of_inputs
from pellucid.graph.ledger import Ledger, Reason, Run
from pellucid.graph.render import summary_text
from pellucid.graph.render.report import report
from pellucid.models.ends import layers_of
from pellucid.models.functional import Configured
from pellucid.training import loop
from pellucid.training.callbacks import Callback, History
from pellucid.training.compiled import Objective, Settings
from pellucid.training.data import ArrayData, is_arrays
from pellucid.training.machine import Machine
from pellucid.training.own_step import built_in, metrics_of, running, specs_of, unpack
from pellucid.training.preflight import Preflight, preflight

_running: contextvars.ContextVar[Model | None] = contextvars.ContextVar("pellucid_running_model", default=None)


class Model(Configured):
    """A layer that can be trained. Subclass it: make layers in ``__init__`` and connect them in ``call``.

    ``call`` runs once: what it produced is ``model.graph``, and ``model.explain()`` says when and why it ran.

    Example:
        >>> import numpy as np, pellucid
        >>> class Line(pellucid.Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.out = pellucid.layers.Dense(1)
        ...     def call(self, inputs):
        ...         return self.out(inputs)
        >>> model = Line()
        >>> model.compile(optimizer="sgd", loss="mse")
        >>> x = np.linspace(0, 1, 64, dtype="float32")[:, None]
        >>> history = model.fit(x, 3 * x, epochs=3, verbose=0)
        >>> model.predict(x[:7], verbose=0).shape, model.ledger.call_count
        ((7, 1), 1)
    """

    _machine: Machine
    train_function: Any = None
    test_function: Any = None
    predict_function: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Model:
        model = super().__new__(cls, *args, **kwargs)
        object.__setattr__(model, "_machine", Machine(model))
        return model  # type: ignore[return-value]

    @filtered
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        outer, watcher = _running.get(), frame.observer()
        if outer is None and isinstance(watcher, Capture) and not watcher.of_call:
            return self._call_in_step(watcher, args, kwargs)
        token = _running.set(outer or self)
        try:
            if outer is not None:
                self.ledger.ran_inside(type(outer).__name__)
            elif watcher is None:
                return self._call_of_the_users(args, kwargs)
            return super().__call__(*args, **kwargs)
        finally:
            _running.reset(token)

    def _call_of_the_users(self, args: tuple, kwargs: dict) -> Any:
        """``model(x)``, which is entered in the ledger."""
        place, started = user_place(sys._getframe(2)), time.perf_counter()
        step, raised = running.get(), None
        reason, sentence = Reason.USER, "you called the model, which computes at once"
        if step is not None:
            reason, sentence = Reason.EAGER, f"run_eagerly=True runs `{step}`, which calls the model, in Python on every step"
        try:
            return super().__call__(*args, **kwargs)
        except BaseException as error:
            raised = type(error).__name__
            sentence += f", and it raised {raised}"
            raise
        finally:
            shapes, mode = self._told(args, kwargs)
            run = Run("eager", reason, sentence, str(place), shapes, mode, time.perf_counter() - started, raised=raised, place=place)
            self.ledger.add(run)

    def _call_in_step(self, capture: Capture, args: tuple, kwargs: dict) -> Any:
        """``self(x)`` in a step of the user's own: the graph becomes part of the step's, ``call`` does not run for it."""
        args, kwargs, training = self._without_training(args, kwargs)
        inputs = args[0] if len(args) == 1 and not kwargs else Arguments(args, kwargs)
        with capture.layer_call(self, args, kwargs, user_place(sys._getframe(2))) as record:
            return record(self._machine.captures.run(inputs, bool(training), None, capture.root.name))

    def _told(self, args: tuple, kwargs: dict) -> tuple[str, bool | None]:
        """The signature and the mode of the user's own call."""
        given = {k: v for k, v in kwargs.items() if k != "training"}
        inputs = args[0] if len(args) == 1 and not given else [*args, *given.values()]
        mode = kwargs.get("training")
        return str(signature_of(inputs, None)), mode if isinstance(mode, bool) else None

    # ---- Settings ----

    @filtered
    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int | str = "auto",
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
        nan: str | None = None,
        max_captures: int | None = None,
        on_side_effect: str = "warn",
    ) -> None:
        """Says how to train.

        Args:
            optimizer: name, Optimizer, or any ``optax.GradientTransformation``.
            loss: name, Loss or function ``(y_true, y_pred)``; with several outputs also a list or a dict by output name.
            loss_weights: factors of the outputs' losses, list or dict.
            metrics: list of names, Metrics or functions; with several outputs a list of lists or a dict.
            weighted_metrics: the same, for metrics that take the sample weights.
            run_eagerly: whether ``call`` runs in Python on every step, for debugging.
            steps_per_execution: steps in one dispatch, or "auto".
            jit_compile: accepted for Keras's sake: steps are always compiled by XLA, unless ``run_eagerly``.
            auto_scale_loss: whether an optimizer of a model whose policy is "mixed_float16" is put into a ``LossScaleOptimizer``.
            nan: "raise" stops training with a ``NonFiniteError`` where a loss or gradient is not finite, or another variable that
                was so before: moving statistics, optimizer state (what metrics hold is not looked at). It names the first operation
                that was not, and the weights are those before that batch. Memory is needed for two more copies of
                weights and optimizer state. An infinite gradient that the optimizer clips is not noticed, nor is a step that loss
                scaling leaves out, unless the scale falls below 1.
            max_captures: how often ``call`` may be captured in all, those before included. Where it would have to be once more,
                a ``CaptureBudgetError`` says why, before ``call`` runs.
            on_side_effect: "warn" shows a ``SideEffectWarning`` for each place in ``call`` that does what compiled steps do not
                repeat; "error" raises a ``SideEffectError`` and undoes what ``call`` changed of the model and of what its code names
                (not what it wrote elsewhere: files, the screen); "ignore" leaves it to the ledger.

        Raises:
            ValueError: for unknown names; nothing is changed then.
        """
        if steps_per_execution != "auto":
            steps_per_execution = check_whole("compile", "steps_per_execution", steps_per_execution, or_else=" or 'auto'")
        if max_captures is not None:
            max_captures = check_whole("compile", "max_captures", max_captures, or_else=" or None")
        check_flags("compile", run_eagerly=False if run_eagerly is None else run_eagerly)
        if jit_compile not in (None, "auto"):
            check_flags("compile", jit_compile=jit_compile)
        if nan not in (None, "raise"):
            raise ValueError(f"compile: nan={nan!r}; expected 'raise' (stop at a loss or gradient that is not finite) or None.")
        if on_side_effect not in ("warn", "error", "ignore"):
            raise ValueError(f"compile: on_side_effect={on_side_effect!r}; expected 'warn', 'error' or 'ignore'.")
        optimizer = optimizers.get(optimizer)
        if auto_scale_loss and self.dtype_policy.name == "mixed_float16" and not isinstance(optimizer, optimizers.LossScaleOptimizer):
            optimizer = optimizers.LossScaleOptimizer(optimizer)
        run_eagerly = bool(run_eagerly)
        settings = Settings(optimizer, loss, loss_weights, metrics, weighted_metrics, run_eagerly, jit_compile, steps_per_execution, nan)
        settings.check_names()
        self._machine.compile(settings)
        for purpose in ("train", "test", "predict"):  # made for the settings of before
            vars(self).pop(f"{purpose}_function", None)
        self._machine.captures.max_captures, self._machine.captures.on_side_effect = max_captures, on_side_effect

    @Given
    def optimizer(self) -> Any:
        """The optimizer given to ``compile``."""
        return None if self._machine.settings is None else self._machine.settings.optimizer

    @Given
    def loss(self) -> Any:
        """The loss given to ``compile``."""
        return None if self._machine.settings is None else self._machine.settings.loss

    @property
    def compiled(self) -> bool:
        """Whether ``compile`` was called."""
        return self._machine.settings is not None

    @property
    def run_eagerly(self) -> bool:
        """Whether ``call`` runs in Python on every step."""
        return self._machine.settings is not None and self._machine.settings.run_eagerly

    @property
    def metrics(self) -> list[Any]:
        """The metrics in use: those in attributes of the model and its layers, and those of ``compile``.

        Where a step is the user's own, the first is the mean of the loss, which that step updates.
        """
        machine, objective = self._machine, self._machine.objective
        own = any(machine.own_step(purpose) for purpose in ("train", "test"))
        loss = [machine.loss_mean] if own and machine.loss_mean is not None else []
        return [*loss, *metrics_of(self), *([] if objective is None else [m.metric for m in objective.metrics])]

    @property
    def metrics_variables(self) -> list[Variable]:
        """The states of the metrics."""
        return list(dict.fromkeys(v for m in self.metrics for v in m.variables))

    @property
    def metrics_names(self) -> list[str]:
        """Names of losses and metrics, as in the logs."""
        if self._machine.own_step("test"):
            return list(self.get_metrics_result())
        objective = self._machine.objective
        return [] if objective is None else [*objective.tracker.names, *(m.log_name for m in objective.metrics)]

    @property
    def stop_training(self) -> bool:
        """Set it in a callback to end ``fit``."""
        return self._machine.stop_training

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self._machine.stop_training = bool(value)

    @Given
    def history(self) -> History | None:
        """What the last ``fit`` returned."""
        return self._machine.history

    # ---- Training and using ----

    @filtered
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Iterable[Callback] | Callback | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | list[int] = 1,
    ) -> History:
        """Trains for a number of epochs.

        Args:
            x: array, or list, tuple or dict of arrays, with the rows first. Or anything that iterates over batches ``(x, y)`` or
                ``(x, y, sample_weight)``: a generator, a ``pellucid.utils.PyDataset``, a loader.
            y: targets, one for each output.
            batch_size: rows of a step, 32 by default, where ``x`` is arrays.
            epochs: number of the last epoch.
            verbose: "auto" or 1 for a bar, 2 for a line an epoch, 0 for silence.
            callbacks: objects of ``pellucid.callbacks.Callback``.
            validation_split: share of the last rows kept for validation.
            validation_data: ``(x, y)`` or ``(x, y, sample_weight)``, or something that iterates over batches.
            shuffle: whether the rows are put in a new order in each epoch; of a ``PyDataset`` the batches. "batch" counts as True.
            class_weight: weights of classes, such as ``{0: 1.0, 1: 5.0}``, by which the rows' losses are multiplied; other classes have
                1. "balanced" gives all classes the same weight in all. With several outputs a dict of them by output name, or a list.
            sample_weight: weight of each row in the loss, or of each time step (rows, steps); with several outputs a dict or a list.
            initial_epoch: number of epochs done before.
            steps_per_epoch: steps of an epoch; by default until all data were seen. The next epoch goes on where one ended.
            validation_steps: steps of a validation, from the first row on; by default all.
            validation_batch_size: by default ``batch_size``.
            validation_freq: validate every so many epochs, or a list of epochs (the first is 1).

        Returns:
            History, whose ``history`` has one entry an epoch for each loss and metric.

        Raises:
            DataError, ValueError: for data that do not fit. The model is as good as before.
        """
        callbacks = [callbacks] if isinstance(callbacks, Callback) else callbacks
        return loop.fit(
            self._machine,
            x,
            y,
            batch_size,
            epochs,
            verbose,
            callbacks,
            validation_split,
            validation_data,
            shuffle,
            class_weight,
            sample_weight,
            initial_epoch,
            steps_per_epoch,
            validation_steps,
            validation_batch_size,
            validation_freq,
        )

    @filtered
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Iterable[Callback] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss and metrics of data: a number, a list in the order of ``metrics_names``, or a dict.

        ``x`` is arrays, or iterates over batches, of which ``steps`` are taken.
        """
        return _flat(loop.evaluate(self._machine, x, y, sample_weight, batch_size, steps, verbose, callbacks), return_dict)

    @filtered
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Iterable[Callback] | None = None,
    ) -> Any:
        """The outputs for inputs, batch by batch, as NumPy arrays.

        ``x`` is arrays, or iterates over batches (of which only the inputs count), and ``steps`` of them are taken.
        """
        return loop.predict(self._machine, x, batch_size, verbose, callbacks, steps)

    @filtered
    def train_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """One step of training with one batch. Returns its loss and metrics."""
        self._machine.need_settings("train_on_batch")
        data = ArrayData.check(x, y, sample_weight, where="train_on_batch")
        return _flat(loop.on_batch(self._machine, "train", data, "train_on_batch"), return_dict)

    @filtered
    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """The loss and metrics of one batch."""
        self._machine.need_settings("test_on_batch")
        data = ArrayData.check(x, y, sample_weight, where="test_on_batch")
        return _flat(loop.on_batch(self._machine, "test", data, "test_on_batch"), return_dict)

    @filtered
    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch, as NumPy arrays."""
        return loop.on_batch(self._machine, "predict", ArrayData.check(x, where="predict_on_batch"), "predict_on_batch")

    def reset_metrics(self) -> None:
        """Starts the means of losses and metrics anew."""
        if self._machine.objective is not None:
            self._machine.objective.reset()
        self._machine.reset_own_metrics()

    # ---- A step at a time ----

    @built_in
    def make_train_function(self, force: bool = False) -> Any:
        """Sets (and returns) ``train_function``: ``model.train_function(iterator)`` trains with the next batch and gives the logs.

        ``fit`` needs no such function. Where a model overrides this method and wraps ``train_function``, or sets one of its own, ``fit``
        calls that on each batch, one step in a dispatch. It may also be of the form of Keras on JAX,
        ``train_function(state, iterator)``, which gives ``(logs, state)``.

        Args:
            force: whether a function that is there is replaced.

        Example:
            >>> import numpy as np, pellucid
            >>> model = pellucid.Sequential([pellucid.layers.Dense(1)])
            >>> model.compile("sgd", "mse")
            >>> model.make_train_function()
            <...>
            >>> list(model.train_function(iter([(np.ones((4, 3)), np.ones((4, 1)))])))
            ['loss']
        """
        return self._make_function("train", force)

    @built_in
    def make_test_function(self, force: bool = False) -> Any:
        """Sets (and returns) ``test_function``, for ``evaluate``; see ``make_train_function``."""
        return self._make_function("test", force)

    @built_in
    def make_predict_function(self, force: bool = False) -> Any:
        """Sets (and returns) ``predict_function``, which gives the outputs; see ``make_train_function``."""
        return self._make_function("predict", force)

    def _make_function(self, purpose: str, force: bool) -> Any:
        name = f"{purpose}_function"
        if force or getattr(self, name) is None:
            setattr(self, name, loop.step_function(self._machine, purpose))
        return getattr(self, name)

    # ---- Steps, which may be overridden ----

    @built_in
    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of training. Override it: it is captured once, as ``call`` is, and compiled.

        In it ``self(x)`` uses the captured graph of ``call``. A smaller last batch is never filled up with further rows, as it is where
        the step is built in: a second program is compiled for it. ``train_step(self, state, data)``, which returns ``(logs, state)``, is
        understood as well, as in Keras on JAX.

        Args:
            data: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``, as arrays of one batch.

        Returns:
            The logs by name. What ``fit`` shows is those of the last step: give the results of metrics, which are means so far.

        Example:
            >>> import numpy as np, pellucid
            >>> class M(pellucid.Model):
            ...     def __init__(self):
            ...         super().__init__()
            ...         self.out = pellucid.layers.Dense(1)
            ...         self.mean = pellucid.metrics.Mean(name="loss")
            ...     def call(self, x):
            ...         return self.out(x)
            ...     def train_step(self, data):
            ...         x, y = data
            ...         weights = self.trainable_variables
            ...         loss, grads = pellucid.value_and_grad(lambda: ((self(x, training=True) - y) ** 2).mean(), weights)()
            ...         self.optimizer.apply(grads, weights)
            ...         self.mean.update_state(loss)
            ...         return {"loss": self.mean.result()}
            >>> model = M()
            >>> model.compile("sgd")
            >>> history = model.fit(np.ones((70, 3)), np.ones((70, 1)), epochs=3, verbose=0)
            >>> len(history.history["loss"]), model.ledger.call_count
            (3, 1)
        """
        x, y, sample_weight = unpack(data)
        variables = self.trainable_variables

        def loss_of_weights() -> tuple[Any, Any]:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
            return self.optimizer.scale_loss(loss), (loss, y_pred)

        (_, (loss, y_pred)), grads = frame.value_and_grad(loss_of_weights, variables, has_aux=True)()
        self.optimizer.apply(grads, variables)
        self._update_loss(loss, x)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    @built_in
    def test_step(self, data: Any) -> dict[str, Any]:
        """One step of evaluation; see ``train_step``."""
        x, y, sample_weight = unpack(data)
        y_pred = self(x, training=False)
        self._update_loss(self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=False), x)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    @built_in
    def predict_step(self, data: Any) -> Any:
        """One step of prediction: the outputs for a batch."""
        return self(unpack(data)[0], training=False)

    def _update_loss(self, loss: Any, x: Any) -> None:
        mean = self._machine.loss_mean
        if mean is not None:
            mean.update_state(loss, sample_weight=jax.tree.leaves(x)[0].shape[0])

    @built_in
    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True) -> Any:
        """The number to minimise for one batch: the losses of ``compile``, and what ``add_loss`` was given.

        Args:
            x: inputs.
            y: targets.
            y_pred: outputs.
            sample_weight: weights of the rows, or None.
            training: the mode.
        """
        added = self.losses
        return self._objective_of(y, y_pred, bool(added)).loss(y, y_pred, sample_weight, None, added)[0]

    @built_in
    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Updates the metrics of ``compile`` with one batch. Returns the results of all metrics by name."""
        settings = self._machine.settings
        if settings is not None and (settings.metrics or settings.weighted_metrics):
            self._objective_of(y, y_pred, bool(self.losses)).update_metrics(y, y_pred, sample_weight, None)
        return self.get_metrics_result()

    def get_metrics_result(self) -> dict[str, Any]:
        """The results of ``metrics`` by name."""
        results: dict[str, Any] = {}
        for metric in self.metrics:
            value = metric.result()
            results.update(value if isinstance(value, dict) else {metric.name: value})
        return results

    def _objective_of(self, y: Any, y_pred: Any, with_losses: bool) -> Objective:
        """Losses and metrics that fit outputs."""
        graph, count = self.graph, len(jax.tree.leaves(y_pred))
        names = graph.output_names if graph is not None and len(graph.output_names) == count else output_names(y_pred, [None] * count)
        return self._machine.objective_for(specs_of(y_pred), names, specs_of(y), with_losses, "compute_loss")

    def stateless_compute_loss(
        self,
        trainable_variables: Sequence[Any],
        non_trainable_variables: Sequence[Any],
        metrics_variables: Sequence[Any],
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tuple:
        """``compute_loss`` as a pure function: ``(loss, (trainable, non-trainable, metrics' variables))``, all as values."""
        parts = self.trainable_variables, self.non_trainable_variables, self.metrics_variables
        values = [*trainable_variables, *non_trainable_variables, *metrics_variables]
        loss, new = frame.functional(
            lambda: self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training),
            [v for p in parts for v in p],
        )(values)
        first, second = len(parts[0]), len(parts[0]) + len(parts[1])
        return loss, (new[:first], new[first:second], new[second:])

    def compute_loss_and_updates(
        self,
        trainable_variables: Sequence[Any],
        non_trainable_variables: Sequence[Any],
        metrics_variables: Sequence[Any],
        x: Any,
        y: Any,
        sample_weight: Any = None,
        training: bool = False,
        optimizer_variables: Any = None,
    ) -> tuple:
        """Outputs and loss as a pure function, for ``jax.value_and_grad(..., has_aux=True)``.

        Returns:
            ``(loss, (loss, outputs, non-trainable variables, metrics' variables))``, variables as values.
        """
        with frame.Frame():  # has the losses that layers add, until they are counted
            y_pred, non_trainable = self.stateless_call(trainable_variables, non_trainable_variables, x, training=training)
            loss, (_, non_trainable, metrics) = self.stateless_compute_loss(
                trainable_variables, non_trainable, metrics_variables, x, y, y_pred, sample_weight, training
            )
        return loss, (loss, y_pred, non_trainable, metrics)

    # ---- The glass box ----

    @property
    def graph(self) -> Graph | None:
        """What the last capture of ``call`` produced."""
        return self._machine.captures.last

    @property
    def ledger(self) -> Ledger:
        """Every run of ``call``, and every program compiled."""
        return self._machine.captures.ledger

    @filtered
    def capture(self, *specs: Any, training: bool = False) -> Graph:
        """Captures ``call`` (or finds the graph that serves) without computing anything. New weights are made.

        Args:
            specs: arrays, ``ShapeDtypeStruct``s or shapes such as ``(None, 6)``: one, or a structure as ``call`` takes it.
            training: the mode that is needed.

        Example:
            >>> import pellucid
            >>> class M(pellucid.Model):
            ...     def __init__(self):
            ...         super().__init__()
            ...         self.out = pellucid.layers.Dense(2)
            ...     def call(self, x):
            ...         return self.out(x)
            >>> M().capture((None, 6)).outputs
            (None, 2)
        """
        if not isinstance(training, bool | np.bool_):
            raise ValueError(f"capture: training={training!r}; expected True or False.")
        return self._capture_for(specs[0] if len(specs) == 1 else list(specs), "capture", bool(training), "inputs")

    def _capture_for(self, given: Any, where: str, training: bool = False, name: str = "input_shape") -> Graph:
        """The graph for inputs that are described by shapes or arrays."""
        inputs = specs_of_inputs(given, self.dtype, where, name)
        return self._machine.captures.graph_for(inputs, rows_of(inputs, where), training, where)

    @filtered
    def preflight(self, x: Any, batch_size: int = 32, y: Any = None) -> Preflight:
        """Says what a step will cost before the first one: work, memory, the largest batch that fits, seconds to compile.

        It compiles a step, and another with twice the rows to see what grows with them. Nothing is computed and no weight changes;
        ``call`` runs once at most, and ``fit`` uses that capture. Before ``compile`` it is a step of prediction, else one of training:
        a ``train_step`` of one's own, where there is one.

        Args:
            x: arrays, ``ShapeDtypeStruct``s or shapes such as ``(None, 6)``, in the structure that ``fit`` takes.
            batch_size: rows of a step.
            y: targets, likewise. By default they are as the outputs are, or class numbers where the loss is a sparse one. A step of
                one's own without a loss in ``compile`` gets none.

        Returns:
            Preflight: numbers, of which ``str()`` makes a table and ``as_dict()`` plain data.

        Raises:
            ValueError: for a batch size that is none, or targets that do not fit the losses.

        Example:
            >>> import pellucid
            >>> class M(pellucid.Model):
            ...     def __init__(self):
            ...         super().__init__()
            ...         self.out = pellucid.layers.Dense(2)
            ...     def call(self, x):
            ...         return self.out(x)
            >>> before = M().preflight((None, 6), batch_size=10)
            >>> before.weights, before.forward_flops  # 6 * 2 weights and 2 biases of 4 bytes
            (56, 260.0)
        """
        return preflight(self._machine, x, batch_size, y)

    @filtered
    def submodel(self, outputs: Any, name: str | None = None) -> Submodel:
        """A model whose outputs are values inside this one. It shares the weights, and can be trained and nested.

        Args:
            outputs: path of a node of ``graph``, such as ``"hidden2"`` or ``"block/add"``, or a list or dict of paths. A list of
                one path gives its value alone.
            name: of the new model.

        Raises:
            KeyError: for a path that the graph does not have.
            ValueError: where nothing was captured yet, or for a node inside a loop, whose values do not leave it.

        Example:
            >>> import numpy as np, pellucid
            >>> class M(pellucid.Model):
            ...     def __init__(self):
            ...         super().__init__()
            ...         self.hidden, self.out = pellucid.layers.Dense(4), pellucid.layers.Dense(1)
            ...     def call(self, x):
            ...         return self.out(self.hidden(x))
            >>> model = M()
            >>> model.build((None, 3))
            >>> model.submodel("hidden").predict(np.ones((2, 3)), verbose=0).shape
            (2, 4)
        """
        if self.graph is None:
            raise ValueError("submodel: `call` was not captured yet. Build the model first: model.build((None, …)) or model.capture(x).")
        return Submodel(self, outputs, name)

    @filtered
    def activations(self, x: Any, outputs: Any = None, batch_size: int | None = None) -> Any:
        """The values inside the model for inputs, as NumPy arrays: what each node of the graph gives.

        Args:
            x: array, or list, tuple or dict of arrays, with the rows first.
            outputs: path of a node, or a list of paths; by default all layers and operations at the model's own level.
            batch_size: rows computed at once, all by default.

        Returns:
            The value where ``outputs`` is one path, else a dict of values by path.
        """
        listed = outputs is None or isinstance(outputs, str) or (isinstance(outputs, list | tuple) and outputs)
        if not listed or not all(isinstance(path, str) for path in outputs or ()):
            raise ValueError(f"activations: outputs={outputs!r}; expected the path of a node, such as 'hidden2', or a list of paths.")
        if not is_arrays(x):
            raise DataError(f"activations: x is a {type(x).__name__}; expected an array, or a list, tuple or dict of arrays.")
        rows = None if batch_size is None else check_whole("activations", "batch_size", batch_size, or_else=" or None")
        data = ArrayData.check(x, where="activations")
        captures, parts = self._machine.captures, self._machine.parts
        graph = captures.graph_for(specs_of(data.x), data.rows, False, "activations")
        paths = graph.values_outside() if outputs is None else [outputs] if isinstance(outputs, str) else list(outputs)
        if not paths:
            raise ValueError(
                f"activations: `call` of {self.name!r} has no layer and no operation to show the value of; expected outputs='input'."
            )
        parts.keep(lambda key, _: key[0] in captures.graphs)
        key = graph, tuple(paths)
        part = parts.get(key)
        if part is None:
            part = Submodel(self, {path: path for path in paths}, f"{self.name}_activations", graph)
            parts.put(key, part)
        values = loop.predict(part._machine, data, rows or data.rows, 0, None)
        return values[outputs] if isinstance(outputs, str) else {path: values[path] for path in paths}

    def _build_nested(self, input_shape: Any) -> None:
        if frame.active_frame() is None and not is_calling():  # else the run that is going on makes the weights
            self._capture_for(input_shape, "build")

    @filtered
    def summary(
        self,
        line_length: int | None = None,
        print_fn: Callable[[str], None] | None = None,
        expand_nested: bool = True,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
        input_shape: Any = None,
    ) -> None:
        """Prints a row for each layer call and each operation between layers: shapes, connections, parameters, FLOPs of one row.

        Args:
            line_length: width of the table, 100 by default.
            print_fn: takes the text in place of ``print``.
            expand_nested: whether what is inside layers has rows.
            show_trainable: whether a column says what is trainable.
            layer_range: the first and the last layer to show, as names or regular expressions.
            input_shape: builds the model first, such as ``(None, 6)``.

        Raises:
            ValueError: for a ``layer_range`` that fits no layers.

        Example:
            >>> import pellucid
            >>> class M(pellucid.Model):
            ...     def __init__(self):
            ...         super().__init__(name="m")
            ...         self.hidden, self.out = pellucid.layers.Dense(4), pellucid.layers.Dense(1)
            ...     def call(self, x):
            ...         return self.out(x + self.hidden(x))
            >>> model = M()
            >>> model.compile("adam", "mse")
            >>> model.summary(input_shape=(None, 4))
            Model: 'm'
            <BLANKLINE>
             Layer (type)     Output shape   Connected to    Param #   FLOPs
             ───────────────────────────────────────────────────────────────
             input (Input)    (None, 4)
             hidden (Dense)   (None, 4)      input                20      36
             · add            (None, 4)      input, hidden                 4
             out (Dense)      (None, 1)      add                   5       9
            <BLANKLINE>
            Total params: 25 (100 B)
            Trainable params: 25 (100 B)
            Non-trainable params: 0 (0 B)
            Optimizer state: 52 (208 B)
            FLOPs, a row: 49
        """
        if print_fn is not None and not callable(print_fn):
            raise TypeError(f"summary: print_fn={print_fn!r}; expected a function that takes the text, or None for print.")
        if input_shape is None and self.graph is None and self._network is not None:
            input_shape = self.input_shape
        if input_shape is not None:
            self._capture_for(input_shape, "summary")
            self.build(input_shape)
        state = self._optimizer_state_size()
        (print_fn or print)(summary_text(self, self.graph, line_length, expand_nested, show_trainable, layer_range, state))

    def _optimizer_state_size(self) -> tuple[int, int] | None:
        """Number of elements and bytes of what the optimizer keeps, or will keep when training starts."""
        settings = self._machine.settings
        if settings is None or not self.trainable_weights:
            return None
        return settings.optimizer.state_size(self.trainable_weights)

    def report(self, path: str | os.PathLike = "report.html") -> str:
        """Writes one page, which works offline: the story of ``call``, the graph, the curves and times of the last fit.

        Among the times, that of the validations is apart from that of the steps of training.

        Args:
            path: of the HTML file. Where writing fails, the one that was there before stays as it is.

        Returns:
            The path.

        Raises:
            ValueError: for a name that ends otherwise than in .html.
            OSError: where the file cannot be written.
        """
        ending = pathlib.PurePath(check_path("report", "path", path, "the name of a file, such as 'report.html'")).suffix
        if ending.lower() not in ("", ".html", ".htm"):
            raise ValueError(
                f"report: path={os.fspath(path)!r}; expected a name that ends in .html. graph.save(path) draws svg and others."
            )
        graph, phases = self.graph, self._machine.phases
        drawing = "" if graph is None else graph._repr_html_()
        history = {} if self._machine.history is None else self._machine.history.history
        times = {} if phases is None else phases.seconds()
        write_whole(path, report(type(self).__name__, self.ledger, graph, drawing, history, times))
        return os.fspath(path)

    def explain(self, as_dict: bool = False) -> dict[str, Any] | None:
        """Prints, in plain words, when and why ``call`` ran and what was compiled; ``as_dict=True`` returns it as data."""
        if as_dict:
            return self.ledger.as_dict()
        print(self.ledger.story(type(self).__name__))
        return None


class Submodel(Model):
    """The part of a model that gives some inner values; made by ``Model.submodel``. It shares the layers and their weights.

    It holds no code of its own: its ``call`` is part of the other model's graph, which is captured where none serves.

    Args:
        model: that is cut.
        outputs: path of a node, or a list of paths, or a dict of them.
        name: of the new model.
        graph: that has the nodes, by default the last one.
    """

    def __init__(self, model: Model, outputs: Any, name: str | None = None, graph: Graph | None = None):
        super().__init__(name=name, autocast=False)  # the graph casts its inputs itself
        if isinstance(outputs, list | tuple) and len(outputs) == 1:
            (outputs,) = outputs
        self.paths, self._tree = jax.tree.flatten(outputs)
        if not self.paths or not all(isinstance(path, str) for path in self.paths):
            raise ValueError(f"submodel: outputs={outputs!r}; expected the path of a node, such as 'hidden2', or a list or dict of paths.")
        self._of = Held(model)
        whole = graph or model.graph
        assert whole is not None
        graph = whole.restricted(self.paths)
        self.used = layers_of(graph)
        held = {v for layer in self.used for v in layer.variables}
        self.own = [v for v in dict.fromkeys([*graph.reads, *graph.writes]) if v not in held]

    def call(self, inputs: Any, training: Any = None) -> Any:
        """The values of the nodes."""
        values = self._of.layer._machine.captures.run(inputs, training, self.paths, f"submodel {self.name!r}")
        return jax.tree.unflatten(self._tree, values)


def _flat(logs: dict[str, Any], as_dict: bool) -> Any:
    if as_dict:
        return logs
    values = list(logs.values())
    return values[0] if len(values) == 1 else values
