"""The glass box: a layer whose runs of ``call`` are told in a ledger, and captured as a graph that can be seen."""

from __future__ import annotations

import contextvars
import os
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pellucid.core import frame
from pellucid.core.checks import check_path
from pellucid.core.explain import filtered
from pellucid.core.files import write_whole
from pellucid.core.jax_compat import user_place
from pellucid.core.layer import is_calling
from pellucid.graph import render
from pellucid.graph.capture import Capture
from pellucid.graph.graph import Arguments, Graph
from pellucid.graph.inputs import rows_of, specs_of_inputs
from pellucid.graph.ledger import Ledger, Reason, Run
from pellucid.graph.signature import signature_of
from pellucid.models.functional import Configured
from pellucid.training.machine import Machine
from pellucid.training.own_step import running

_running: contextvars.ContextVar[GlassBox | None] = contextvars.ContextVar("pellucid_running_model", default=None)
PURPOSES = ("train", "test", "predict")


class GlassBox(Configured):
    """What a model tells of its ``call``: when and why it ran, and what it produced."""

    _machine: Machine

    def __new__(cls, *args: Any, **kwargs: Any) -> GlassBox:
        model = super().__new__(cls, *args, **kwargs)
        object.__setattr__(model, "_machine", Machine(model))
        return model  # type: ignore[return-value]

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        made_for_this = {f"{purpose}_function" for purpose in PURPOSES}
        attributes = {k: v for k, v in state["attributes"].items() if k not in made_for_this}
        return {**state, "attributes": attributes, "compiled": self._machine.kept()}

    def __setstate__(self, given: dict[str, Any]) -> None:
        super().__setstate__(given)
        self._machine.restore(given["compiled"])

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
        inputs = Arguments.of(args, kwargs).alone()
        with capture.layer_call(self, args, kwargs, user_place(sys._getframe(2))) as record:
            return record(self._machine.captures.run(inputs, bool(training), None, capture.root.name))

    def _told(self, args: tuple, kwargs: dict) -> tuple[str, bool | None]:
        """The signature and the mode of the user's own call."""
        given = {k: v for k, v in kwargs.items() if k != "training"}
        inputs = args[0] if len(args) == 1 and not given else [*args, *given.values()]
        mode = kwargs.get("training")
        return str(signature_of(inputs, None)), mode if isinstance(mode, bool) else None

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
            specs: arrays, ``ShapeDtypeStruct``s or shapes such as ``(None, 6)``: one, or a structure as ``call`` takes it. None is the
                batch, and in other places a length that is open.
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
        if input_shape is not None:
            self._capture_for(input_shape, "summary")
            self.build(input_shape)
        elif self.graph is None and self._network is not None:
            self._capture_for(self._network.inputs, "summary")  # of the types that data have
        state = self._optimizer_state_size()
        (print_fn or print)(render.summary_text(self, self.graph, line_length, expand_nested, show_trainable, layer_range, state))

    def _optimizer_state_size(self) -> tuple[int, int] | None:
        """Number of elements and bytes of what the optimizer keeps, or will keep when training starts."""
        settings = self._machine.settings
        if settings is None or not self.trainable_weights:
            return None
        return settings.optimizer.state_size(self.trainable_weights)

    def report(self, path: str | os.PathLike = "report.html") -> str:
        """Writes one page, which works offline: the story of ``call``, the graph, curves and times of the last fit, the last profile.

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
        profile = self._machine.profile
        profiles = [] if profile is None else profile.tables()
        write_whole(path, render.report(type(self).__name__, self.ledger, graph, drawing, history, times, profiles))
        return os.fspath(path)

    def explain(self, as_dict: bool = False) -> dict[str, Any] | None:
        """Prints, in plain words, when and why ``call`` ran and what was compiled; ``as_dict=True`` returns it as data."""
        if as_dict:
            return self.ledger.as_dict()
        print(self.ledger.story(type(self).__name__))
        return None
