"""Nodes and edges: what a capture shows of ``call``, found by a walk over its equations.

A layer call is a node, with what it does inside. Between layers, and inside layers of the user's own, each function that the
user calls (``concatenate``, ``+``, ``jnp.mean``) is a node: the equations that one such call made are told from others by the
user's line and columns, which JAX keeps with every equation.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Container, Iterable, Sequence
from typing import Any, NamedTuple

import jax

from pellucid.core import jax_compat, mode
from pellucid.core.frame import read_variable_p
from pellucid.core.jax_compat import Literal, Place, parts
from pellucid.core.layer import Layer
from pellucid.core.variable import Variable
from pellucid.graph.cost import equation_cost
from pellucid.graph.operations import REMAT, Operation, Turns, expression_of, operation_name

MASK = ":mask"  # ends the names by which equations mark the masks of a layer's outputs


class TensorSpec(NamedTuple):
    """Shape, with None for the batch, and data type of a value."""

    shape: tuple
    dtype: str

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}"


@dataclasses.dataclass(eq=False)
class Node:
    """A layer call, or an operation between layers (then ``layer`` is None), or an input or output of the graph.

    Control flow that layers are called in (``scan``, ``cond``, ``remat`` …) is an operation with nodes inside.

    Attributes:
        path: unique in the graph, such as ``block/attention#2`` for the second call of a layer; operations are named after
            the function or operator that the user wrote.
        layer: that was called, None for anything else.
        kind: class of the layer, or name of the operation, or "Input" or "Output".
        source: the user's line that made the call or operation.
        inputs: shapes and data types of what it takes.
        outputs: those of what it gives.
        masks: those of the masks that go with its outputs, as far as these have any.
        connected_to: paths of the nodes that feed it. A node outside a nested layer sees that layer, not what is inside it.
        results: paths of the nodes directly inside that make its outputs.
        variables: that an operation reads by itself, such as ``self.w`` in ``x @ self.w``.
        flops: floating-point operations for one row, with those of nodes inside.
        parent: path of the layer call, or of the control flow, that it is inside of, or an empty text.
        depth: how many of those it is inside of.
    """

    path: str
    layer: Layer | None
    kind: str
    source: Place | None = None
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    masks: tuple[TensorSpec, ...] = ()
    connected_to: list[str] = dataclasses.field(default_factory=list)
    results: list[str] = dataclasses.field(default_factory=list)
    variables: list[Variable] = dataclasses.field(default_factory=list)
    flops: float = 0.0
    parent: str = ""
    depth: int = 0

    @property
    def name(self) -> str:
        """The path without that of the layer call around it."""
        return self.path.removeprefix(f"{self.parent}/")

    @property
    def parameters(self) -> int:
        """Number of elements of the layer's weights, or of the weights that an operation reads."""
        return sum(v.size for v in self.weights)

    @property
    def weights(self) -> list[Variable]:
        """Those of the layer, or those that an operation reads by itself."""
        return self.layer.weights if self.layer is not None else [v for v in self.variables if not getattr(v, "transient", False)]

    @property
    def bytes(self) -> int:
        """Size of the outputs for one row."""
        return sum(_elements(spec.shape) * _itemsize(spec.dtype) for spec in self.outputs)

    def __repr__(self) -> str:
        at = f" at {self.source}" if self.source else ""
        mask = f" with mask {_listed(self.masks)}" if self.masks else ""
        return f"<{self.kind} {self.path!r}{at}: {_listed(self.inputs)} -> {_listed(self.outputs)}{mask}>"


class Counted:
    """Counts the elements of weights where they are used first: of a second call of a layer, and inside it, nothing is new.

    Args:
        nodes: in the order in which they ran, a layer before what is inside it.
    """

    def __init__(self, nodes: Iterable[Node]):
        self.new: dict[str, int] = {}  # by path; what is new inside a layer is part of what is new in it
        self._first: dict[Variable, str] = {}
        around: dict[str, frozenset[str]] = {"": frozenset()}
        for node in nodes:
            around[node.path] = around.get(node.parent, frozenset()) | {node.path}
            self.new[node.path] = self.add(node.path, node.weights, around[node.path])

    def add(self, path: str, weights: Iterable[Variable], around: Container[str] = ()) -> int:
        """How many elements are new in weights that are used at a path, inside of others."""
        new = [v for v in weights if v not in self._first or self._first[v] in around]
        self._first.update(dict.fromkeys(new, path))
        return sum(v.size for v in new)


class Edge(NamedTuple):
    """A value that one node makes and another takes."""

    source: Node
    target: Node
    shape: tuple
    dtype: str

    def __repr__(self) -> str:
        return f"{self.source.path} -> {self.target.path} {self.shape}"


def spec_of(aval: Any) -> TensorSpec:
    """Shape and data type of an abstract value."""
    return TensorSpec(shape_of(aval), str(getattr(aval, "dtype", "")))


def shape_of(aval: Any) -> tuple:
    """A shape with None in place of a symbolic size."""
    return jax_compat.open_shape(getattr(aval, "shape", ()))


def part_names(kind: str, tree: Any, kept: Sequence[bool]) -> list[str]:
    """Names of the arrays of a structure: ``input`` where it is the only one, else ``input_1``, or by a dict's key."""
    leaves = jax.tree_util.tree_flatten_with_path(jax.tree.unflatten(tree, range(tree.num_leaves)))[0]
    paths = [path for (path, _), keep in zip(leaves, kept, strict=True) if keep]
    if len(paths) == 1:
        return [kind]
    names: list[str] = []
    for number, path in enumerate(paths, 1):
        key = getattr(path[-1], "key", None) if path else None
        name = f"{kind}_{key if isinstance(key, str) else number}"
        names.append(name if name not in names else f"{name}_{number}")
    return names


class Walk:
    """One walk over the equations of a graph: fills its nodes and edges.

    Args:
        graph: whose equations and layer calls are looked at.
    """

    def __init__(self, graph: Any):
        self.calls: dict[str, Node] = {
            n.path: dataclasses.replace(n, connected_to=[], results=[], variables=[], flops=0.0) for n in graph.calls
        }
        self.nodes: dict[str, Node] = {}
        self.edges: dict[tuple, Edge] = {}
        self.values: dict[str, list[Any]] = {}  # the variables of the jaxpr that a node gives, in order
        self.inputs: list[Node] = []
        self.outputs: list[Node] = []
        self._sizes = {**graph.present, "batch": 1} if graph.signature.batch_size is None else graph.present
        self._share = 1.0 / (graph.signature.batch_size or 1)
        self._producers: dict[Any, tuple[str, ...]] = {}
        self._given: set[Any] = set()  # what control flow makes and is no state
        self._states: set[Any] = set()  # what a layer makes and does not give as its output
        self._reads: dict[Any, Variable] = {}
        self._times: dict[str, int] = {}
        self._operations: dict[tuple, Operation] = {}  # the last one of each key
        self._turns = {False: Turns(), True: Turns(backwards=True)}
        self._graph_layer = graph.layer
        self._blocks: dict[str | None, str] = {}  # the control flow that is being walked through, by the layer call that it is in
        self._number = 0  # of the equation that is looked at
        self._fed: dict[str, int] = {}  # the last equation that each node takes the inputs of
        self._rest: tuple[Sequence[Any], int] = (), 0  # equations, and the number of the next one
        self._run(graph)

    def _run(self, graph: Any) -> None:
        jaxpr = graph.jaxpr
        kept = [kind != "value" for kind, _ in graph.signature.leaves]
        for name, var in zip(part_names("input", graph.signature.tree, kept), parts(jaxpr).invars, strict=True):
            self.inputs.append(Node(name, None, "Input", outputs=(spec_of(var.aval),)))
            self._producers[var] = (name,)
        self._walk(jaxpr, "", 1.0)
        self.nodes.update({path: node for path, node in self.calls.items() if path not in self.nodes})
        outvars = parts(jaxpr).outvars[: graph.output_count]
        for name, var in zip(part_names("output", graph.output_tree, [True] * graph.output_count), outvars, strict=True):
            node = Node(name, None, "Output", inputs=(spec_of(var.aval),))
            self.outputs.append(node)
            if not isinstance(var, Literal):
                self._connect(node, var)
        self._name_values(outvars)
        for node in self.nodes.values():
            node.flops *= self._share

    # ---- The walk ----

    def _walk(self, jaxpr: Any, scope: str, times: float) -> None:
        eqns = parts(jaxpr).eqns
        for number, eqn in enumerate(eqns):
            self._rest = eqns, number + 1
            if eqn.primitive is read_variable_p:
                self._reads[eqn.outvars[0]] = eqn.params["variable"]
            elif eqn.primitive is not mode.mode_p:
                self._visit(eqn, scope, times)

    def _visit(self, eqn: Any, scope: str, times: float) -> None:
        here = f"{scope}/{jax_compat.scope(eqn)}".strip("/")
        self._number += 1
        if _is_backwards(eqn):
            self._visit_backwards(eqn, here, times)
            return
        marked = eqn.params["name"] if eqn.primitive.name == "name" else None
        owner = owner_of(here, self.calls)
        is_mask = marked is not None and marked.endswith(MASK)
        marked = marked and marked.removesuffix(MASK)
        if marked is not None and marked not in self.calls and owner is not None and f"/{owner}".endswith(f"/{marked}"):
            marked = owner  # in the capture of another model
        if marked in self.calls:
            self._feed(self.calls[marked], eqn)
            if is_mask:  # no value of the node's own: it goes beside one
                self._producers.update(dict.fromkeys(eqn.outvars, (marked,)))
                return
            self._gives(self.calls[marked], eqn)
            self._made_by(marked, eqn)
            return
        inner = [j for j in jax_compat.nested_jaxprs(eqn) if self._has_calls(j)]
        if inner:
            self._enter(eqn, inner, here, times, owner)
            return
        node = self._operation(eqn, owner) if owner is None or not is_ours(self.calls[owner].layer) else self.calls[owner]
        self._part_of(node, eqn, times)
        if node.layer is not None:  # not marked as an output: a state, such as that of a seed, which the next call reads
            self._states.update(eqn.outvars)

    def _visit_backwards(self, eqn: Any, here: str, times: float) -> None:
        """Enters an equation of a backward pass where the gradient is asked for, outside of the layer calls that it goes back through."""
        owner = owner_of(here.partition(_BACKWARDS)[0], self.calls)
        forwards = self._around(owner_of(here, self.calls) or "")
        layer = next((n for n in reversed(forwards) if n.path != owner and n.depth >= self._depth_in(owner)), None)
        self._part_of(self._operation(eqn, owner) if layer is None else self._gradient(eqn, owner, layer), eqn, times)

    def _part_of(self, node: Node, eqn: Any, times: float) -> None:
        self._feed(node, eqn)
        self._count(node, eqn, times)
        self._made_by(node.path, eqn)

    def _level(self, owner: str | None) -> str:
        """The path of what is around the nodes that a layer call has now: itself, or control flow in it."""
        return self._blocks.get(owner, owner or "")

    def _depth_in(self, owner: str | None) -> int:
        return len(self._around(self._level(owner)))

    def _made_by(self, path: str, eqn: Any) -> None:
        self._producers.update(dict.fromkeys(eqn.outvars, (path,)))
        self.values.setdefault(path, []).extend(eqn.outvars)

    def _gives(self, layer: Node, eqn: Any) -> None:
        """Notes which nodes directly inside a layer call make what the equation marks as its output."""
        self._given_by(layer, (p for var in eqn.invars if not isinstance(var, Literal) for p in self._producers.get(var, ())))

    def _given_by(self, node: Node, producers: Iterable[str]) -> None:
        for producer in producers:
            inside = next((n for n in self._around(producer) if n.parent == node.path), None)
            if inside is not None and inside.path not in node.results:
                node.results.append(inside.path)

    def _feed(self, node: Node, eqn: Any) -> None:
        """Enters a node and the layer calls around it, and connects them with what feeds the equation."""
        for around in reversed(self._around(node.path)):
            self.nodes.setdefault(around.path, around)
            self._fed[around.path] = self._number
        for var in eqn.invars:
            if isinstance(var, Literal):
                continue
            if (variable := self._reads.get(var)) is not None and variable not in node.variables:
                node.variables.append(variable)
            for around in reversed(self._around(node.path)):
                self._connect(around, var)

    def _connect(self, node: Node, var: Any) -> None:
        for producer in self._producers.get(var, ()):
            seen = self._seen_from(node, producer)
            if seen is None or (var in self._states and not node.path.startswith(f"{producer}/")):
                continue
            source = self.find(seen)
            if source.path not in node.connected_to:
                node.connected_to.append(source.path)
            self.edges.setdefault((source.path, node.path, var), Edge(source, node, *spec_of(var.aval)))

    def find(self, path: str) -> Node:
        """A node, or an input, by its path."""
        return self.nodes.get(path) or self.calls.get(path) or next(n for n in self.inputs if n.path == path)

    def _around(self, path: str) -> list[Node]:
        """A node and the layer calls that it is inside of, from the inside out.

        The path alone does not tell: a layer of the backbone that the model calls itself is inside no call of the backbone.
        """
        found = []
        while (node := self.calls.get(path) or self.nodes.get(path)) is not None:
            found.append(node)
            path = node.parent
        return found

    def _seen_from(self, node: Node, producer: str) -> str | None:
        """What a node sees of another one: the outermost layer call around that one, but not around the node. None for itself."""
        around = self._around(producer) or [self.find(producer)]
        if node in around:
            return None
        outside = {n.path for n in self._around(node.path)}
        if producer in outside and around[0].layer is None:  # control flow, of a node inside it
            return None
        return next((n.path for n in reversed(around) if n.path not in outside), producer)

    def _count(self, node: Node, eqn: Any, times: float) -> None:
        try:
            flops = equation_cost(eqn, self._sizes).flops * times
        except Exception:  # a size that has no value for one row
            return
        for around in self._around(node.path):
            around.flops += flops

    def paths_of(self, eqns: Iterable[Any], scope: str = "") -> set[str]:
        """The layer calls that equations are in, with those around them."""
        found: set[str] = set()
        for eqn in eqns:
            here = f"{scope}/{jax_compat.scope(eqn)}".strip("/")
            owner = eqn.params["name"] if eqn.primitive.name == "name" and eqn.params["name"] in self.calls else owner_of(here, self.calls)
            found.update(node.path for node in self._around(owner or ""))
            for inner in jax_compat.nested_jaxprs(eqn):
                found |= self.paths_of(parts(inner).eqns, here)
        return found

    # ---- Control flow that layers are called in ----

    def _has_calls(self, jaxpr: Any) -> bool:
        for eqn in parts(jaxpr).eqns:
            if eqn.primitive.name == "name" and eqn.params["name"] in self.calls:
                return True
            if any(self._has_calls(j) for j in jax_compat.nested_jaxprs(eqn)):
                return True
        return False

    def _enter(self, eqn: Any, inner: list[Any], scope: str, times: float, owner: str | None) -> None:
        """Walks over a loop's body, a branch or a function, as if it stood in the place of its equation or inside the node of that."""
        length = eqn.params.get("length", 1) if eqn.primitive.name == "scan" else 1
        turns = times * jax_compat.evaluate_size(length, self._sizes)
        block = self._block(eqn, inner, scope, owner)
        level = self._blocks.get(owner)
        if block is not None:
            self._blocks[owner] = block.path
        made: list[list[str]] = [[] for _ in eqn.outvars]
        for jaxpr in sorted(inner, key=lambda j: self._first_call(j, scope)):  # a cond has its false branch first, which ran last
            invars, outvars = parts(jaxpr).invars, parts(jaxpr).outvars
            given = eqn.invars[-len(invars) :] if invars else []  # a cond's predicate and the like come first
            for var, outer in zip(invars, given, strict=True):
                if not isinstance(outer, Literal):
                    self._producers[var] = self._producers.get(outer, ())
                    if outer in self._reads:
                        self._reads[var] = self._reads[outer]
            before = set(self.nodes)
            self._walk(jaxpr, scope, turns)
            if eqn.primitive.name == "cond" and block is None:
                self._chosen_by(eqn.invars[0], [n for path, n in self.nodes.items() if path not in before])
            for outer, var in zip(eqn.outvars, outvars[-len(made) :] if made else [], strict=False):
                (self._states if not isinstance(var, Literal) and var in self._states else self._given).add(outer)
            for found, var in zip(made, outvars[-len(made) :] if made else [], strict=False):
                found += [p for p in (() if isinstance(var, Literal) else self._producers.get(var, ())) if p not in found]
        if block is None:
            self._producers.update({var: tuple(found) for var, found in zip(eqn.outvars, made, strict=True)})
            return
        self._blocks.pop(owner) if level is None else self._blocks.update({owner: level})
        self._given_by(block, (p for found in made for p in found))
        self._made_by(block.path, eqn)

    def _block(self, eqn: Any, inner: list[Any], scope: str, owner: str | None) -> Node | None:
        """The node of control flow, with the layer calls of its jaxprs inside; None for a function, and for what a library's layer does."""
        layer = self._graph_layer if owner is None else self.calls[owner].layer
        of_scope = layer is not None and layer._state.remat is not None and eqn.primitive.name in REMAT
        is_one = eqn.primitive.name in _CONTROL_FLOW or eqn.params.get("name") == "vectorized_map"
        if not is_one or (owner is not None and is_ours(layer)) or of_scope:
            return None
        level = self._level(owner)
        node = self._operation(eqn, owner)
        self._feed(node, eqn)
        paths = [path for jaxpr in inner for path in self.paths_of(parts(jaxpr).eqns, scope) if path in self.calls]
        for call in map(self.calls.__getitem__, paths):
            if call.parent == level and call.path != owner:
                call.parent = node.path
        for call in map(self.calls.__getitem__, paths):
            call.depth = len(self._around(call.path)) - 1
        return node

    def _first_call(self, jaxpr: Any, scope: str) -> int:
        """When the first layer call in a jaxpr ran; one without any comes last."""
        inside = self.paths_of(parts(jaxpr).eqns, scope)
        return next((number for number, path in enumerate(self.calls) if path in inside), len(self.calls))

    def _chosen_by(self, predicate: Any, branch: list[Node]) -> None:
        """Connects what decides between branches with the nodes that a branch begins with."""
        inside = {n.path for n in branch}
        for node in branch:
            if node.parent not in inside and not inside & set(node.connected_to):
                self._connect(node, predicate)

    # ---- Operations ----

    def _operation(self, eqn: Any, owner: str | None) -> Node:
        """The operation that an equation is part of: equations of one execution of an expression of the user's make one node.

        What ``jax.grad`` in ``call`` computes backwards has the line of the function, but is another node than what that computes
        forwards.
        """
        call, backwards = jax_compat.user_call(eqn), _is_backwards(eqn)
        key: tuple = (owner, eqn.primitive.name, self._number)
        if call is not None:
            key = (owner, backwards, id(call.users[-1][0]), call.columns, self._turns[backwards].at(call.users))
        if call is None and owner in self._blocks:  # of the loop itself, such as its counter
            return self.nodes[self._blocks[owner]]
        known = self._operations.get(key)
        if known is not None and call is not None and known.goes_on(eqn, call, lambda: self._loops(known, call)):
            node = self._grows(known, eqn, call)
            if node is not None:
                return node
        expression = None if call is None else expression_of(call)
        operation = Operation(self._begin(operation_name(eqn, call, expression), owner, call and call.place), expression, self._number)
        operation.add(eqn, call)
        self._operations[key] = operation
        return operation.node

    def _gradient(self, eqn: Any, owner: str | None, layer: Node) -> Node:
        """What belongs to the gradient of a layer call that ``jax.grad`` in ``call`` went back through: one node."""
        known = self._operations.get((owner, layer.path))
        node = None if known is None else self._grows(known, eqn, None)
        if node is None:
            node = self._begin(f"{layer.name.split('#')[0]}_gradient", owner, layer.source)
            self._operations[owner, layer.path] = Operation(node, None, self._number)
        return node

    def _grows(self, known: Operation, eqn: Any, call: jax_compat.UserCall | None) -> Node | None:
        """The node of an operation, which the equation becomes part of; None where it takes what others made of the node's results."""
        if self._would_feed_itself(known, eqn):
            return None
        known.add(eqn, call)
        node = known.node
        if not node.results:  # else it has nodes inside, which come behind it
            self.nodes[node.path] = self.nodes.pop(node.path)  # after what it takes: `sum(layer(x) for layer in …)` adds in between
        return node

    def _begin(self, name: str, owner: str | None, source: Place | None) -> Node:
        path = self._free(f"{owner}/{name}" if owner else name)
        level = self._level(owner)
        node = Node(path, None, name, source, parent=level, depth=self._depth_in(owner))
        self.nodes.update({around.path: self.nodes.get(around.path, around) for around in reversed(self._around(level))})
        self.nodes[path] = node
        return node

    def _loops(self, run: Operation, call: jax_compat.UserCall) -> bool:
        """Whether an equation like one before it is of the same run: of a loop in a library, as in ``hstack``.

        After such a loop comes an equation of the expression that is new in this run; after a loop of the user's comes none.
        """
        eqns, number = self._rest
        new = next((e for e in itertools.islice(eqns, number, number + _AHEAD) if run.is_new(e)), None)
        following = None if new is None else jax_compat.user_call(new)
        return following is not None and following.users == call.users

    def _would_feed_itself(self, run: Operation, eqn: Any) -> bool:
        """Whether an equation takes what other nodes made of an operation's results, so that it cannot be part of it."""
        paths = [p for v in eqn.invars if not isinstance(v, Literal) for p in self._producers.get(v, ())]
        waiting = [seen for p in paths if (seen := self._seen_from(run.node, p)) is not None]
        passed = set(waiting)
        while waiting:
            path = waiting.pop()
            if path == run.node.path:
                return True
            if self._fed.get(path, -1) >= run.number:  # else it was complete before
                new = set(self.find(path).connected_to) - passed
                passed |= new
                waiting.extend(new)
        return False

    def _free(self, path: str) -> str:
        while True:
            number = self._times[path] = self._times.get(path, 0) + 1
            found = path if number == 1 else f"{path}#{number}"
            if found not in self.calls:
                return found

    def _name_values(self, outvars: Sequence[Any]) -> None:
        """Fills in what operations take and give: what comes from outside their equations, what is used outside."""
        used = {var for _, _, var in self.edges} | {v for v in outvars if not isinstance(v, Literal)}
        taken: dict[str, list[TensorSpec]] = {}
        for _, target, var in self.edges:
            taken.setdefault(target, []).append(spec_of(var.aval))
        for path, node in self.nodes.items():
            made = self.values.get(path, [])
            if node.layer is None:
                node.inputs = tuple(taken.get(path, ()))
                self.values[path] = [v for v in made if v in used] or [v for v in made if v in self._given] or made[-1:]
                node.outputs = tuple(spec_of(v.aval) for v in self.values[path])
            elif path in self.calls:
                self.values[path] = made[-len(node.outputs) :] if node.outputs else []


_CONTROL_FLOW = ("scan", "while", "cond", *REMAT)


def is_ours(layer: Layer | None) -> bool:
    """Whether a layer is one of the library's: what it does inside is not the user's."""
    return layer is not None and type(layer).__module__.split(".")[0] == "pellucid"


def owner_of(scope: str, calls: Iterable[str]) -> str | None:
    """The innermost layer call whose scope an equation is in. Scopes of the user's and of transformations are passed over."""
    found, passed = "", ""
    stripped, wrapped = _TRANSFORMATION.subn("", scope)
    for step in (stripped.replace(")", "") if wrapped else scope).split("/"):
        for path in (f"{found}/{passed}{step}".lstrip("/"), f"{found}/{step}".lstrip("/")):
            if path in calls:
                found, passed = path, ""
                break
        else:
            passed += step + "/"
    return found or None


_TRANSFORMATION = re.compile(r"\b(vmap|jvp|transpose|remat|checkpoint|rematted_computation)\(")


_BACKWARDS = "transpose("  # the scope of what a gradient computes backwards, with that of the function that it is of in it
_AHEAD = 500  # equations to look through for the end of a loop


def _is_backwards(eqn: Any) -> bool:
    return _BACKWARDS in jax_compat.scope(eqn)


def _elements(shape: tuple) -> int:
    count = 1
    for size in shape:
        count *= 1 if size is None else size
    return count


def _itemsize(dtype: str) -> int:
    try:
        return int(jax.numpy.dtype(dtype).itemsize)
    except TypeError:  # a random key
        return 8


def _listed(specs: tuple) -> str:
    return ", ".join(str(s.shape) for s in specs) or "nothing"
