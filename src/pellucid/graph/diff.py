"""What two captures differ in: of two signatures (why ``call`` had to run again) and of two graphs, as data and in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from pellucid.core import jax_compat
from pellucid.core.jax_compat import Literal, parts

if TYPE_CHECKING:
    from pellucid.graph.graph import Graph, Signature

_FEW = 5  # constants of one node that are told one by one
_LONG = 60


@dataclasses.dataclass(frozen=True)
class Change:
    """One difference: of what kind, of which node or input, what it was and what it is."""

    kind: str  # "structure", "value", "rank", "shape", "dtype", "added", "gone", "class", "source", "constant", "guard", "mode" …
    name: str
    before: Any
    now: Any
    sentence: str

    def __str__(self) -> str:
        return self.sentence

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return {"kind": self.kind, "name": self.name, "before": _plain(self.before), "now": _plain(self.now), "sentence": self.sentence}


@dataclasses.dataclass(frozen=True)
class Difference:
    """All differences between two captures, from an earlier one to a later one. It is false where there are none.

    Attributes:
        changes: every difference.
    """

    changes: tuple[Change, ...]

    def of(self, *kinds: str) -> list[Change]:
        """The differences of some kinds, such as ``of("added", "gone")``."""
        return [c for c in self.changes if c.kind in kinds]

    @property
    def added(self) -> list[str]:
        """Paths of the nodes that only the later capture has."""
        return [c.name for c in self.of("added")]

    @property
    def gone(self) -> list[str]:
        """Paths of the nodes that only the earlier capture has."""
        return [c.name for c in self.of("gone")]

    def as_dict(self) -> list[dict[str, Any]]:
        """The same as plain data."""
        return [c.as_dict() for c in self.changes]

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __str__(self) -> str:
        if not self.changes:
            return "The two captures do not differ."
        return "\n".join(f"- {c.sentence}" for c in self.changes)


def diff(before: Graph, now: Graph) -> Difference:
    """What a later capture differs in from an earlier one.

    Args:
        before: the earlier capture.
        now: the later one.

    Example:
        >>> import pellucid
        >>> from pellucid.graph.diff import diff
        >>> class Scale(pellucid.Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.alpha = 0.5
        ...     def call(self, x):
        ...         return x * self.alpha
        >>> model = Scale()
        >>> one = model.capture((None, 3))
        >>> model.alpha = 0.9
        >>> changes = diff(one, model.capture((None, 3)))
        >>> [(c.kind, c.before, c.now) for c in changes if c.kind == "constant"]
        [('constant', 0.5, 0.9)]
    """
    changes = [*signature_changes(before.signature, now.signature), *_modes(before, now), *_nodes(before, now)]
    changes += [*_constants(before, now), *_guards(before, now), *_variables(before, now)]
    return Difference(tuple(changes))


# ---- Signatures ----


def signature_changes(before: Signature, now: Signature) -> list[Change]:
    """What the inputs of two captures differ in."""
    if before.tree != now.tree:
        structures = _structure(before), _structure(now)
        return [Change("structure", "inputs", *structures, f"the structure of the inputs is {structures[1]}, before {structures[0]}")]
    paths = jax.tree_util.tree_flatten_with_path(jax.tree.unflatten(now.tree, range(len(now.leaves))))[0]
    changes = [
        _leaf_change(_input_name(path), old, new)
        for (path, _), old, new in zip(paths, before.leaves, now.leaves, strict=True)
        if old != new
    ]
    if before.batch_size != now.batch_size:
        old, new = ("any size" if b is None else f"{b} rows" for b in (before.batch_size, now.batch_size))
        changes.append(Change("batch size", "inputs", old, new, f"the graph is for batches of {new}, before {old}"))
    return changes


def signature_difference(before: Signature, now: Signature) -> str:
    """The same in one clause: ``input 'B' has 7 features, before 6``."""
    return " and ".join(c.sentence for c in signature_changes(before, now))


def lengths_difference(before: Signature, now: Signature, opened: Signature) -> str:
    """Why sizes are open from now on, in one clause, of inputs in numbers: ``input 'B' has shape (None, 12, 6), before (None, 10, 6)``."""
    axes = {a for shape, _ in opened.leaves if shape != "value" for a, size in enumerate(shape) if isinstance(size, str)}
    told = f"ax{'is' if len(axes) == 1 else 'es'} {' and '.join(map(str, sorted(axes)))}"
    others = [f"{shape} after {old}" for (old, _), (shape, _) in zip(before.leaves, now.leaves, strict=True) if shape != old]
    return f"inputs of another length came, {' and '.join(dict.fromkeys(others))}: this is for all lengths of {told}"


def _input_name(path: Sequence[Any]) -> str:
    if not path:
        return "the input"
    if len(path) > 1:
        return f"input{jax.tree_util.keystr(path)}"
    (step,) = path
    index = getattr(step, "idx", None)
    return f"input {getattr(step, 'key', getattr(step, 'name', step))!r}" if index is None else f"input {index + 1}"


def _leaf_change(name: str, old: tuple, new: tuple) -> Change:
    if "value" in (old[0], new[0]):
        before, now = (_shown(leaf[1]) if leaf[0] == "value" else f"an array of shape {_shape(leaf)}" for leaf in (old, new))
        return Change("value", name, before, now, f"{name} is {now}, before {before}")
    if len(old[0]) != len(new[0]):
        axes = "axis" if len(new[0]) == 1 else "axes"
        sentence = f"{name} has {len(new[0])} {axes}, before {len(old[0])}"
        return Change("rank", name, len(old[0]), len(new[0]), sentence)
    if old[0] == new[0]:
        return Change("dtype", name, old[1], new[1], f"{name} has dtype {new[1]}, before {old[1]}")
    shape, was = _shape(new), _shape(old)
    if len(shape) > 1 and was[:-1] == shape[:-1] and None not in (was[-1], shape[-1]):
        features = "feature" if shape[-1] == 1 else "features"
        sentence = f"{name} has {shape[-1]} {features}, before {was[-1]}"
    elif was == shape:
        sentence = f"{name} has other sizes that are equal"
    else:
        sentence = f"{name} has shape {shape}, before {was}"
    return Change("shape", name, was, shape, sentence + (f", and dtype {new[1]}, before {old[1]}" if old[1] != new[1] else ""))


def _shape(leaf: tuple) -> tuple:
    return tuple(None if isinstance(d, str) else d for d in leaf[0])


def _structure(signature: Signature) -> str:
    return str(signature.tree).removeprefix("PyTreeDef(").removesuffix(")")


# ---- Graphs ----


def _modes(before: Graph, now: Graph) -> list[Change]:
    changes = []
    if before.training != now.training:
        said = {None: "both modes", True: "training=True alone", False: "training=False alone"}
        place = now.training_place or before.training_place
        at = f": `call` branches on `training` at {place}" if place else ""
        sentence = f"the graph is good for {said[now.training]}, before for {said[before.training]}{at}"
        changes.append(Change("mode", "training", before.training, now.training, sentence))
    asked = [[str(g) + f" is {g.answer}" for g in graph.size_guards] for graph in (before, now)]
    for kind, mine, others, verb in (("gone", *asked, "no longer asks"), ("added", asked[1], asked[0], "asks")):
        for question in mine:
            if question not in others:
                old, new = (question, None) if kind == "gone" else (None, question)
                about = "batch" if "batch" in question else "length"
                changes.append(Change("question", about, old, new, f"`call` {verb} about the {about}: {question}"))
    return changes


def _nodes(before: Graph, now: Graph) -> list[Change]:
    old, new = ({n.path: n for n in (*g.input_nodes, *g.nodes, *g.output_nodes)} for g in (before, now))
    changes = []
    for path, node in old.items():
        if path not in new:
            changes.append(Change("gone", path, node.kind, None, f"{_node(node)} is gone"))
    for path, node in new.items():
        if path not in old:
            changes.append(Change("added", path, None, node.kind, f"{_node(node)} is new"))
        else:
            changes += _of_node(old[path], node)
    return changes


def _of_node(old: Any, new: Any) -> list[Change]:
    changes = []
    ends = new.kind in ("Input", "Output")  # of which the values that they hand on are told
    if old.kind != new.kind:
        changes.append(Change("class", new.path, old.kind, new.kind, f"{new.path!r} is a {new.kind}, before a {old.kind}"))
    elif old.layer is not new.layer:
        changes.append(Change("layer", new.path, old.kind, new.kind, f"{new.path!r} is another layer of the same class"))
    mine, theirs = ((n.outputs or n.inputs) if ends else n.outputs for n in (old, new))
    for kind, one, other in (
        ("shape", [s.shape for s in mine], [s.shape for s in theirs]),
        ("dtype", [s.dtype for s in mine], [s.dtype for s in theirs]),
    ):
        if one != other:
            before, now = (x[0] if len(x) == 1 else x for x in (one, other))
            verb = "is" if ends else "gives"
            changes.append(Change(kind, new.path, before, now, f"{new.path!r} {verb} {kind} {now}, before {before}"))
    if old.connected_to != new.connected_to:
        before, now = (", ".join(n.connected_to) or "nothing" for n in (old, new))
        changes.append(Change("connection", new.path, before, now, f"{new.path!r} is fed by {now}, before by {before}"))
    if old.source != new.source:
        sentence = f"{new.path!r} comes from {new.source}, before from {old.source}"
        changes.append(Change("source", new.path, str(old.source), str(new.source), sentence))
    return changes


def _node(node: Any) -> str:
    what = f"{node.kind} {node.path!r}" if node.layer is not None else repr(node.path)
    return what + (f" ({node.source})" if node.source else "")


# ---- Constants, guards, variables ----


def _constants(before: Graph, now: Graph) -> list[Change]:
    """Numbers that came from Python: where a node has as many as before, each that differs; else that they differ."""
    old, new = constants_of(before), constants_of(now)
    places = {n.path: n.source for n in now.nodes}
    changes = []
    for path in [p for p in new if p in old]:
        where = f"{path!r}" + (f" ({places[path]})" if places.get(path) else "")
        mine, theirs = old[path], new[path]
        differing = [(a, b) for a, b in zip(mine, theirs, strict=False) if not same_constant(a, b)]
        if len(mine) != len(theirs) or len(differing) > _FEW:
            sentence = f"{where} holds {len(theirs)} constants, before {len(mine)}; they differ"
            changes.append(Change("constant", path, len(mine), len(theirs), sentence))
            continue
        for a, b in differing:
            a, b = _number(a), _number(b)
            changes.append(Change("constant", path, a, b, f"{where} holds the constant {_shown(b)}, before {_shown(a)}"))
    return changes


def constants_of(graph: Graph) -> dict[str, list[Any]]:
    """The numbers and arrays that each node's equations hold, by the node's path, in their order."""
    found: dict[str, list[Any]] = {}
    _collect(graph.jaxpr, graph, "", found)
    return found


def _collect(jaxpr: Any, graph: Graph, around: str, found: dict[str, list[Any]]) -> None:
    jaxpr_parts = parts(jaxpr)
    held = dict(zip(jaxpr_parts.constvars, jaxpr_parts.consts, strict=True))
    for eqn in jaxpr_parts.eqns:
        path = next(iter(graph._walk._producers.get(eqn.outvars[0], ())), around) if eqn.outvars else around
        for var in eqn.invars:
            if isinstance(var, Literal):
                found.setdefault(path, []).append(var.val)
            elif var in held:
                found.setdefault(path, []).append(held[var])
        for inner in jax_compat.nested_jaxprs(eqn):
            _collect(inner, graph, path, found)


def same_constant(a: Any, b: Any) -> bool:
    """Whether two constants are the same number for number: type, shape and every bit."""
    if a is b:
        return True
    try:
        one, other = np.asarray(a), np.asarray(b)
    except TypeError:  # keys of random generators
        return False
    return (one.dtype, one.shape, type(a)) == (other.dtype, other.shape, type(b)) and one.tobytes() == other.tobytes()


def _number(value: Any) -> Any:
    """A constant as Python shows it: 0.9, not 0.8999999761581421."""
    if np.ndim(value):
        return value
    scalar = np.asarray(value)
    return float(str(scalar)) if scalar.dtype.kind == "f" else scalar.item()


def _guards(before: Graph, now: Graph) -> list[Change]:
    old, new = ({g.name(): g.shown for g in graph.guards.guards} for graph in (before, now))
    changes = [
        Change("guard", name, old[name], new[name], f"`{name}` was {old[name]}, and is {new[name]}")
        for name in new
        if name in old and old[name] != new[name]
    ]
    changes += [Change("guard", n, old[n], None, f"`call` no longer reads `{n}`") for n in old if n not in new]
    return changes + [Change("guard", n, None, new[n], f"`call` reads `{n}`") for n in new if n not in old]


def _variables(before: Graph, now: Graph) -> list[Change]:
    changes = []
    for what, old, new in (("reads", before.reads, now.reads), ("writes", before.writes, now.writes)):
        changes += [
            Change("variable", v.path, what, None, f"`call` no longer {what} variable {v.path!r}") for v in old if v not in set(new)
        ]
        changes += [Change("variable", v.path, None, what, f"`call` {what} variable {v.path!r}") for v in new if v not in set(old)]
    return changes


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONG else text[: _LONG - 3] + "..."


def _plain(value: Any) -> Any:
    """What JSON can hold."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return _shown(value)
