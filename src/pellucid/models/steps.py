"""What ``compile`` is told, and the steps of training, evaluation and prediction, which a model may override."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from pellucid import optimizers
from pellucid.core import frame
from pellucid.core.checks import check_flags, check_whole
from pellucid.core.explain import filtered
from pellucid.core.given import Given
from pellucid.graph.graph import output_names
from pellucid.models.glass_box import GlassBox
from pellucid.training import loop
from pellucid.training.callbacks import History
from pellucid.training.compiled import Objective, Settings
from pellucid.training.own_step import built_in, metrics_of, specs_of, unpack


class Steps(GlassBox):
    """Settings, and one step with one batch."""

    train_function: Any = None
    test_function: Any = None
    predict_function: Any = None

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
            steps_per_execution: steps in one dispatch, or "auto": as many as the graph makes worthwhile. Of batches that are read while
                training runs (generators, loaders) these are no more than there are, so that of short convolutional nets rounding depends
                on the speed of reading, unless ``set_random_seed`` was called.
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
