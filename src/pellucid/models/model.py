"""Model: a layer with ``compile``, ``fit``, ``evaluate`` and ``predict``, and with the graph and ledger of its ``call``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import jax

from pellucid.core.checks import check_whole
from pellucid.core.explain import filtered
from pellucid.core.tree import Held
from pellucid.errors import DataError
from pellucid.graph.graph import Graph
from pellucid.models.ends import layers_of
from pellucid.models.steps import Steps
from pellucid.saving import LoadReport, load_weights, save_weights
from pellucid.training import loop, profiling
from pellucid.training.callbacks import Callback, History
from pellucid.training.data import ArrayData, is_arrays
from pellucid.training.own_step import specs_of
from pellucid.training.preflight import Preflight, preflight


class Model(Steps):
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

    # ---- Files ----

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Not there yet: whole models are not written to files.

        Raises:
            NotImplementedError: says what to do instead.
        """
        raise NotImplementedError(
            f"save of {self.name!r}: whole models are not written to files yet. Write the weights, model.save_weights('name.weights.h5'), "
            "and load them into a model that is made by its code: model.load_weights('name.weights.h5')."
        )

    @filtered
    def save_weights(self, filepath: str | os.PathLike, overwrite: bool = True, max_shard_size: float | None = None) -> None:
        """Writes all weights, and the state of the optimizer, to a file: whole, or what was there before stays.

        Args:
            filepath: ends in ``.weights.h5`` (HDF5; Keras reads it) or in ``.safetensors``.
            overwrite: whether a file that is there may be replaced.
            max_shard_size: None; files in several parts are not written.

        Raises:
            NotBuiltError: where there are no weights yet.
            ValueError: for another ending.
            OSError: where it cannot be written, or is there and ``overwrite=False``.
        """
        save_weights(self, filepath, overwrite, max_shard_size)

    @filtered
    def load_weights(
        self,
        filepath: str | os.PathLike,
        skip_mismatch: bool = False,
        objects_to_skip: Iterable[Any] | None = None,
        by_name: bool | None = None,
    ) -> LoadReport:
        """Takes all weights, and the state of the optimizer, from a file. Where something does not fit, none.

        Args:
            filepath: of a file that ``save_weights`` wrote here or in Keras; or of a model that Keras saved (``.keras``).
            skip_mismatch: whether layers whose weights do not fit are left as they are, and the others loaded.
            objects_to_skip: layers that are left as they are, with those inside them.
            by_name: False or None; weights by the names of layers are not read.

        Returns:
            What was loaded. It prints what was not.

        Raises:
            NotBuiltError: where there are no weights yet.
            ValueError: for a file that cannot be read, or does not fit: it names the weights and both shapes.
            FileNotFoundError: where there is none.
        """
        return load_weights(self, filepath, skip_mismatch, objects_to_skip, by_name)

    # ---- What is inside ----

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
    def profile(self, x: Any, y: Any = None, batch_size: int | None = None, sample_weight: Any = None) -> profiling.Profile:
        """Measures where the time of a step of training goes, and of one of prediction: by layer, forward and gradient apart.

        The steps run as in ``fit`` and ``predict``, in the same programs, some of them under JAX's profiler; weights, optimizer, seeds
        and metrics are put back. Where ``fit`` has run before with such data, nothing is captured or compiled. Takes about a second,
        or ten steps where they are long. See ``docs/profile.md`` for what the columns mean.

        Args:
            x: data as ``fit`` takes them. Of what iterates, batches are taken.
            y: targets.
            batch_size: rows of a step, 32 by default, where ``x`` is arrays.
            sample_weight: as in ``fit``.

        Returns:
            Profile: ``print`` shows tables, ``to_dict()`` gives plain data. Before ``compile`` it has prediction only.

        Raises:
            DataError, ValueError: for data that do not fit; where ``run_eagerly=True``.
            RuntimeError: where JAX's profiler is in use, or tells nothing on this device.

        Example:
            >>> import numpy as np, pellucid
            >>> model = pellucid.Sequential([pellucid.Input((8,)), pellucid.layers.Dense(4, name="hidden")])
            >>> model.compile("sgd", "mse")
            >>> found = model.profile(np.ones((64, 8)), np.ones((64, 4)))
            >>> [part.path for part in found.train.parts if part.kind]
            ['hidden']
            >>> parts = [part.forward.seconds + part.gradient.seconds for part in found.train.parts]
            >>> abs(sum(parts) / found.train.seconds - 1) < 0.05
            True
        """
        return profiling.profile(self._machine, x, y, batch_size, sample_weight)

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

    def _open_axes(self, numbers: Any) -> set[tuple[int, int]]:
        graph = self._of.layer.graph
        return graph.signature.open_axes if graph is not None and graph.signature.tree == jax.tree.structure(numbers) else set()

    def call(self, inputs: Any, training: Any = None) -> Any:
        """The values of the nodes."""
        values = self._of.layer._machine.captures.run(inputs, training, self.paths, f"submodel {self.name!r}")
        return jax.tree.unflatten(self._tree, values)


def _flat(logs: dict[str, Any], as_dict: bool) -> Any:
    if as_dict:
        return logs
    values = list(logs.values())
    return values[0] if len(values) == 1 else values
