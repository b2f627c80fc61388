"""The one place where ``call`` runs to be captured."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from pellucid.core import jax_compat, masks, naming, seeds
from pellucid.core.explain import is_of_formatting
from pellucid.core.frame import Frame, Traced, observer, require_frame_trace
from pellucid.core.growing import Growing
from pellucid.core.hooks import Hooks
from pellucid.core.layer import Layer, not_building, training_context
from pellucid.core.mode import TrainingFlag
from pellucid.errors import CaptureError
from pellucid.graph import effects, guards, source
from pellucid.graph.graph import Arguments, Graph
from pellucid.graph.inputs import specs_of_inputs
from pellucid.graph.instantiate import InstantiationError
from pellucid.graph.nodes import MASK, Node, spec_of
from pellucid.graph.signature import BATCH, Signature, SizeGuard, signature_of

lock = threading.RLock()  # one capture at a time: hooks are process-wide, captures are short


class Capture:
    """What is noted while ``call`` runs: layer calls, losses, questions about the mode and the sizes."""

    def __init__(self, sizes: dict[str, int], training: bool, of_call: bool = True, equates: bool = False):
        self.sizes, self.now, self.of_call, self.equates = sizes, training, of_call, equates
        self.unsure = False  # whether JAX took sizes for different that are equal at present
        self.training: bool | None = None
        self.training_place: jax_compat.Place | None = None
        self.size_guards: list[SizeGuard] = []
        self.calls: list[Node] = []
        self.used: list[Graph] = []  # of other models, whose equations became part of this capture
        self.losses: list[Any] = []
        self.loss_count = 0
        self.masks: dict[int, Any] = {}  # of the outputs that have one, by their numbers
        self._losses_of: dict[Layer, list[Any]] = {}
        self.frame: Frame | None = None
        self.growing: list[Growing] | None = None if of_call else []  # the lists of variables that the step has asked for
        self._stack: list[tuple[Layer, str]] = []
        self._times: dict[str, int] = {}
        self._thread = threading.get_ident()

    @property
    def root(self) -> Layer:
        """The layer that is captured."""
        return self._stack[0][0]

    # ---- Layers (the observer of the frame) ----

    @contextlib.contextmanager
    def layer_call(self, layer: Layer, args: tuple, kwargs: dict, place: jax_compat.Place | None = None) -> Iterator[Callable]:
        """Opens the scope of a layer call; what is yielded records its outputs."""
        if not self._stack:
            self._stack.append((layer, ""))
            try:
                yield lambda outputs: outputs
            finally:
                self._stack.pop()
            return
        caller, outer = self._stack[-1]
        path = f"{outer}/{_step(layer, caller)}".lstrip("/")
        times = self._times[path] = self._times.get(path, 0) + 1
        path = path if times == 1 else f"{path}#{times}"
        place = place or jax_compat.user_place(sys._getframe(2))  # outside the `with` of Layer.__call__
        inputs = _specs((args, kwargs))
        node = Node(path, layer, type(layer).__name__, place, inputs, parent=outer, depth=len(self._stack) - 1)
        self.calls.append(node)
        self._stack.append((layer, path))

        def record(outputs: Any) -> Any:
            node.outputs = _specs(outputs)
            node.masks = _specs(masks.masks_of(outputs))
            return jax.tree.map(lambda y: _named(y, path), outputs)

        try:
            with jax.named_scope(path[len(outer) :].lstrip("/")):
                yield record
        finally:
            self._stack.pop()

    def replayed(self, graph: Graph, calls: list[Node], sizes: dict[str, Any]) -> None:
        """Equations of a graph become part of this capture: so do layer calls, under the layer that runs it, and its guards.

        Args:
            graph: of the other model.
            calls: of its layers that are in use.
            sizes: the present values of its open sizes, symbolic or not, in terms of this capture's own.
        """
        self.used.append(graph)
        self.size_guards += [asked for guard in graph.size_guards if (asked := guard.of(sizes)) is not None]
        outer = self._stack[-1][1] if self._stack else ""
        for node in calls:
            path, parent = (f"{outer}/{p}".strip("/") for p in (node.path, node.parent))
            self.calls.append(dataclasses.replace(node, path=path, parent=parent, depth=node.depth + len(self._stack) - 1))

    def losses_added(self, layer: Layer, losses: list | tuple) -> None:
        require_frame_trace(self.frame, f"add_loss is called in layer {layer.path!r}")
        for loss in losses:
            if jnp.ndim(loss):
                raise ValueError(f"add_loss in layer {layer.path!r} got shape {jnp.shape(loss)}; expected a scalar: reduce it first.")
        self._take(layer, [jnp.asarray(loss) for loss in losses], again=False)

    def losses_replayed(self, layer: Layer, losses: list[Any]) -> None:
        """A graph of a layer has become part of this capture, and gave the losses that its ``call`` added."""
        self._take(layer, losses, again=True)

    def _take(self, layer: Layer, losses: list[Any], again: bool) -> None:
        """Notes losses. A step of the user's own asks for them (``model.losses``): they are not added to what it computes."""
        self._losses_of[layer] = losses if again else [*self._losses_of.get(layer, ()), *losses]
        if self.of_call:
            self.losses.extend(losses)

    def losses_of(self, layer: Layer) -> list[Any]:
        """What a layer has added so far."""
        return self._losses_of.get(layer, [])

    def end(self) -> list[Any]:
        """What ``add_loss`` was given, and the masks of the outputs; nothing traced is kept here."""
        losses, self.losses, self.frame = self.losses, [], None
        given, self.masks = list(self.masks.values()), dict.fromkeys(self.masks)
        self._losses_of.clear()
        self.loss_count = len(losses)
        return [*losses, *given]

    def looked_too_early(self) -> str | None:
        """Where a step looked at variables of which it made more afterwards."""
        return next((str(variables.place) for variables in self.growing or () if variables.has_missed()), None)

    # ---- The mode and the sizes ----

    def on_branch(self, asked: Any) -> None:
        self.training = self.now
        if self.training_place is None:
            if asked is None or isinstance(asked, jax_compat.Place):  # of another model's graph, which becomes part of this one
                self.training_place = asked
            else:
                self.training_place = jax_compat.user_place(asked)

    def answer(self, size: Any, operator: str, others: tuple) -> Any:
        """Answers a question about a size for the present one, where a user's line asks it; JAX's own stay symbolic."""
        if threading.get_ident() != self._thread:
            return NotImplemented
        frame = _asker()
        file = frame.f_code.co_filename
        if jax_compat.is_library_file(frame.f_globals.get("__file__", file) if file == "<string>" else file):  # of a dataclass
            return NotImplemented
        if operator == "__truediv__":
            if source.is_call(frame):
                raise jax_compat.InconclusiveSize("a function that is none of JAX's computes with the size")  # numpy.arange
            return NotImplemented
        if operator in ("__str__", "__repr__") and source.is_shown(frame):
            return NotImplemented
        if operator == "__class__":  # `isinstance(x.shape[0], int)`, true of any size
            return int
        if any(not isinstance(o, jax_compat.SymbolicSize | int | float | np.number) for o in others):
            return NotImplemented
        return self._guarded(size, operator, others, frame)

    def settle(self, size: Any, operator: str, others: tuple) -> Any:
        """Answers a comparison of JAX's own, which it could not decide, for the present sizes.

        Sizes that are equal at present are so by chance in most cases: they count as equal only where a capture has failed without that,
        and never the batch and a length.
        """
        if threading.get_ident() != self._thread:
            return NotImplemented
        if operator in ("__eq__", "__ne__"):
            one, other = (jax_compat.symbols_of(s) for s in (size, others[0]))
            guard = SizeGuard(size, "__eq__", others, True, None)
            if not one | other <= self.sizes.keys() or (BATCH in one) != (BATCH in other) or not guard.holds(self.sizes):
                return NotImplemented
            self.unsure = True
            if not self.equates:
                return NotImplemented
        return self._guarded(size, operator, others, _asker())

    def _guarded(self, size: Any, operator: str, others: tuple, frame: Any) -> Any:
        guard = SizeGuard(size, operator, others, None, jax_compat.user_place(frame))
        guard = SizeGuard(size, operator, others, guard.ask(self.sizes), guard.place)
        self.size_guards.append(guard)
        return guard.answer


def _asker() -> Any:
    return sys._getframe(3)


@dataclasses.dataclass
class About:
    """What the ledger wants to know of a capture."""

    effects: effects.Effects
    seconds: float


Refused = Callable[[jax_compat.Place | None, str, float, frozenset[str] | None], None]


def capture_layer(
    layer: Layer,
    inputs: Any,
    batch_size: int | None,
    training: bool,
    signature: Signature | None = None,
    fixed: frozenset[str] = frozenset(),
    refused: Refused | None = None,
    strict: bool = False,
    of_call: bool = True,
    guessed: bool = False,
) -> tuple[Graph, About]:
    """Runs ``call`` of a layer once and returns its graph.

    Args:
        inputs: structure of arrays or ``ShapeDtypeStruct``s; the first axis of each is the batch.
        batch_size: the present size, which answers questions such as ``x.shape[0] == 1``.
        training: the present mode, which answers a Python ``if training``.
        signature: of the inputs, with names for the sizes that shall be symbols; by default the batch is, and what is open by itself.
        fixed: names of sizes that were refused before, the batch or a length: they are numbers.
        refused: is told where and how symbols were refused, the seconds of that run, and the names that become numbers (None where sizes
            that are equal at present shall count as equal), before ``call`` runs again.
        strict: whether a side effect is an error.
        of_call: False for a step of the user's own, in which models are used by their graphs.
        guessed: whether the lengths are symbols because data of other lengths came: then any error may be about them.

    Raises:
        whatever ``call`` raises. No layer is left half-built then.
    """
    with lock:
        around = observer()
        if isinstance(around, Capture) and around._stack and around.root is layer:
            raise CaptureError(
                f"`call` of {type(layer).__name__} {layer.path!r} asks for its own graph (capture, predict, fit …), which would run "
                "`call` again, without end. Use the layers in `call`, and ask for the graph outside of it."
            )
        present = signature_of(inputs, batch_size)
        signature = present.opened(()) if signature is None else signature
        sizes = {BATCH: 32 if batch_size is None else batch_size, **{k: int(v) for k, v in (signature.sizes_in(present) or {}).items()}}
        tried, equates = [fixed], False
        while True:
            started = time.perf_counter()
            capture = Capture(sizes, training, of_call, equates)
            try:
                graph, seen = _attempt(layer, signature.fixed(tried[-1], sizes), capture, strict)
                return graph, About(seen, time.perf_counter() - started)
            except Exception as error:
                lengths = frozenset(signature.lengths) - fixed
                batch = frozenset({BATCH} if batch_size is not None and BATCH not in fixed else ())
                unsure = capture.unsure and not equates and _may_be_about_sizes(error)
                more = None if unsure else _alone(error, lengths, batch, guessed and len(tried) == 1, tried)
                if more is None and not unsure:
                    raise
                place, message = jax_compat.user_place(None, error), f"{type(error).__name__}: {str(error).split(chr(10))[0][:100]}"
            equates = unsure
            tried += [] if more is None else [more]
            if refused is not None:
                refused(place, message, time.perf_counter() - started, more)


def _alone(
    error: Exception, lengths: frozenset[str], batch: frozenset[str], guessed: bool, tried: list[frozenset[str]]
) -> frozenset[str] | None:
    """Which open sizes are numbers in the next attempt, after an error: those that it names, or else the lengths, then the batch."""
    if isinstance(error, CaptureError) or not (_may_be_about_sizes(error) or (guessed and lengths)):
        return None
    named = {word for word in re.findall(r"[a-z_0-9]+", str(error)) if word in lengths | batch}
    options = [batch, lengths | batch] if named == batch else [lengths, batch, lengths | batch]
    return next((o | tried[0] for o in options if o and o | tried[0] not in tried), None)


def _attempt(layer: Layer, signature: Signature, capture: Capture, strict: bool) -> tuple[Graph, effects.Effects]:
    of_call = capture.of_call
    symbols = jax_compat.symbols([*([BATCH] if signature.batch_size is None else []), *signature.lengths])
    symbols = {**symbols, None: symbols.get(BATCH, signature.batch_size)}
    shapes = [(tuple(symbols.get(d, d) for d in shape), dtype) for shape, dtype in signature.leaves if shape != "value"]
    specs = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in shapes]
    seen = effects.Effects(layer, layer.name if not of_call else "call")
    flag = TrainingFlag(capture.now, capture.on_branch, seen.tells_a_bool) if of_call else None  # a step says which mode a model runs in

    def run(*leaves: Any) -> Any:
        arrays = iter(leaves)
        inputs = jax.tree.unflatten(signature.tree, [x.value if s == "value" else next(arrays) for s, x in signature.leaves])
        if isinstance(inputs, Arguments):
            inputs.give_masks()
        with training_context(flag):
            outputs = layer(*inputs.args, **inputs.kwargs) if isinstance(inputs, Arguments) else layer(inputs)
            _check_outputs(layer, outputs, of_call)
            capture.masks = masks.taken(outputs)
            return outputs

    with (
        not_building(),
        all_or_nothing(layer),
        guards.watching() as reads,
        seen.watching(strict),
        jax_compat.size_questions(capture.answer, capture.settle),
    ):
        traced = Traced(run, *specs, observer=capture)
    graph = Graph(
        layer=layer,
        jaxpr=traced.jaxpr,
        signature=signature,
        output_tree=traced.tree,
        output_count=traced.tree.num_leaves,
        calls=capture.calls,
        writes=traced.writes,
        losses=capture.loss_count,
        masks=tuple(capture.masks),
        guards=guards.guards_of(reads, seen.reach).including([g.guards for g in capture.used]),
        size_guards=list(dict.fromkeys(capture.size_guards)),
        training=capture.training,
        training_place=capture.training_place,
        present=capture.sizes,
        looked_too_early=capture.looked_too_early(),
    )
    return graph, seen


def _check_outputs(layer: Layer, outputs: Any, of_call: bool) -> None:
    """What ``call`` returns must be arrays. Numbers may be among them, but are no outputs by themselves."""
    named = jax.tree_util.tree_flatten_with_path(outputs)[0]
    for path, leaf in named:
        is_array = hasattr(leaf, "dtype") or hasattr(leaf, "__jax_array__") or isinstance(leaf, _NUMBERS | jax_compat.SymbolicSize)
        if not is_array or (isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "OSUMm"):
            at = f" at {jax.tree_util.keystr(path)}" if path else ""
            raise TypeError(
                f"{_calls(layer, of_call)} returned {_short(leaf)}{at}; {_EXPECTED} Keep other things in attributes of the model."
            )
    if of_call and all(isinstance(leaf, _NUMBERS | np.generic) for _, leaf in named):
        raise TypeError(f"{_calls(layer, of_call)} returned {_short(outputs)}, which no input went into; {_EXPECTED}")


_NUMBERS = bool | int | float | complex
_EXPECTED = "expected an array that it computed from the inputs, or a list, tuple or dict of arrays."


def _calls(layer: Layer, of_call: bool) -> str:
    return f"`call` of {type(layer).__name__} {layer.path!r}" if of_call else f"`{layer.name}`"


def _short(value: Any) -> str:
    return repr(value)[:60]


@contextlib.contextmanager
def all_or_nothing(layer: Layer) -> Iterator[None]:
    """Creates the initial values of new weights at the end; where ``call`` raises, unbuilt layers are unbuilt again."""
    before = [(x, dict(vars(x)), list(x._state.variables)) for x in layer._flatten_layers() if not x.built]
    drawn = seeds.state()
    try:
        yield
        for variable in sorted(layer.variables, key=lambda v: v.number):  # in the order in which eager code would make them
            _ = variable.array
    except BaseException:
        seeds.restore(drawn)
        for x, attributes, variables in before:
            if x.built:
                vars(x).clear()
                vars(x).update(attributes)
                x._state.variables[:] = variables
                x._state.built = False
        raise


def _may_be_about_sizes(error: Exception) -> bool:
    """Whether an error may come from the batch being symbolic, so that a capture at the present size may succeed.

    JAX refuses a symbolic size in many ways. What a user's line or ours raised by itself is no such refusal, nor is the use of
    a traced value as a Python bool or number, or in a format.
    """
    if isinstance(error, jax_compat.InconclusiveSize | InstantiationError):
        return True
    if isinstance(error, CaptureError | jax.errors.JAXTypeError | RecursionError | MemoryError) or is_of_formatting(error):
        return False
    return not jax_compat.raised_outside_jax(error)


def _step(layer: Layer, caller: Layer) -> str:
    """Where the layer that calls another one finds it: its attribute there, or the attributes on the way through other layers."""
    steps: list[str] = []
    inner: Layer | None = layer
    while inner is not None and inner is not caller:
        owner, attribute = inner._state.owner or (None, None)
        if owner is not caller:
            here = next((path for path, child in caller._children() if child is inner), None)
            owner, attribute = (owner, attribute) if here is None else (caller, here)
        if attribute is not None:
            steps.append(inner.name if inner._state.named_by_user else attribute)
        inner = owner
    if steps:
        return "/".join(reversed(steps)) if inner is caller else steps[0]  # else the caller does not hold it
    # `layers.concatenate(…)` makes a layer in each capture: its number is of no interest
    return layer.name if layer._state.named_by_user or layer.variables else naming.snake_case(type(layer).__name__)


def _named(y: Any, path: str) -> Any:
    if not isinstance(y, jax.Array):
        return y
    named, mask = checkpoint_name(y, path), masks.mask_of(y)
    if mask is not None:
        masks.attach(named, checkpoint_name(mask, f"{path}{MASK}"))
    return named


def _specs(tree: Any) -> tuple:
    return tuple(spec_of(leaf) for leaf in jax.tree.leaves(tree) if not isinstance(leaf, TrainingFlag) and hasattr(leaf, "shape"))


def _build_abstractly(layer: Layer, input_shape: Any) -> None:
    """Creates all weights of a layer for inputs of a shape, by a capture that computes nothing."""
    inputs = specs_of_inputs(input_shape, layer.dtype, "build", "input_shape")
    capture_layer(layer, inputs, None, False)


Hooks.build_abstractly = _build_abstractly
