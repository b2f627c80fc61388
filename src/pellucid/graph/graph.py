"""Graph: what one run of ``call`` produced, as data."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from pellucid.core import jax_compat, masks
from pellucid.core.frame import active_frame, read_variable_p
from pellucid.core.jax_compat import Literal, Place, parts
from pellucid.core.layer import Layer
from pellucid.errors import ShapeError
from pellucid.graph import render, rows
from pellucid.graph.cost import Cost, cost
from pellucid.graph.diff import Difference, diff
from pellucid.graph.guards import Guards
from pellucid.graph.instantiate import Instantiation, InstantiationError
from pellucid.graph.nodes import Edge, Node, Walk, is_ours, shape_of, spec_of
from pellucid.graph.signature import BATCH, Open, Signature, SizeGuard, arrays_of, sizes_of

_TOLD = 40  # paths in a message


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Arguments:
    """Inputs of a layer that takes several arguments."""

    args: tuple
    kwargs: dict
    masks: dict[int, Any] = dataclasses.field(default_factory=dict)  # of the arrays among them, by their numbers

    @classmethod
    def of(cls, args: tuple, kwargs: dict) -> Arguments:
        """The arguments of a call, with the masks that the arrays have."""
        return cls(args, kwargs, masks.taken((args, kwargs)))

    def alone(self) -> Any:
        """The only argument, where there is one and it has no mask; else all."""
        return self.args[0] if len(self.args) == 1 and not self.kwargs and not self.masks else self

    def give_masks(self) -> None:
        """Gives the arrays their masks."""
        masks.put_back((self.args, self.kwargs), self.masks)


@dataclasses.dataclass(eq=False)
class Graph:
    """One capture of ``call``: nodes, edges, inputs, outputs, and the equations that compute them.

    Calling it computes what ``call`` would, at any batch size (and any length that is open) and for both values of ``training``, in
    the trace and frame that are active, without running ``call``.
    """

    layer: Layer
    jaxpr: Any
    signature: Signature
    output_tree: Any
    output_count: int
    calls: list[Node]
    writes: list[Any]
    losses: int
    masks: tuple[int, ...]  # the numbers of the outputs that have masks, which follow the losses
    guards: Guards
    size_guards: list[SizeGuard]
    training: bool | None  # the only mode that it is good for, None where it is good for both
    training_place: Place | None = None
    present: dict[str, int] = dataclasses.field(default_factory=dict)  # what each open size was in the capture
    looked_too_early: str | None = None  # the line of a step of the user's own; see ``Capture.looked_too_early``

    # ---- Use ----

    def serves(self, signature: Signature, batch_size: int | None, training: bool) -> bool:
        """Whether the graph is good for inputs of a signature and this mode (attributes apart)."""
        lengths = self.signature.sizes_in(signature)
        if lengths is None or (self.training is not None and self.training != training):
            return False
        return self.holds(lengths if batch_size is None else {BATCH: batch_size, **lengths})

    def holds(self, sizes: dict[str, int]) -> bool:
        """Whether the graph is good for these values of its open sizes."""
        mine = self.signature.batch_size
        return mine in (None, sizes.get(BATCH)) and all(g.holds(sizes) for g in self.size_guards)

    def sizes_of(self, inputs: Any) -> dict[str, Any]:
        """The value of each open size, the batch among them, in inputs that it serves."""
        return sizes_of(inputs, self.signature)

    def run(self, inputs: Any, training: bool, batch_size: int | None = None) -> tuple[Any, list[Any]]:
        """(outputs, losses that ``add_loss`` was given). Writes go to the active frame, or to the variables."""
        arrays = [leaf for leaf, _ in arrays_of(inputs, self.signature)]
        sizes = self.sizes_of(inputs) if batch_size is None else {**self.sizes_of(inputs), BATCH: batch_size}
        try:
            values = Instantiation(sizes, training).run(self.jaxpr, arrays)
        except ShapeError:
            raise
        except Exception as error:
            if not self._is_open or not sizes:
                raise
            message = str(error).split("\n")[0][:200]
            raise InstantiationError(f"{type(error).__name__}: {message}", self) from error
        outputs = jax.tree.unflatten(self.output_tree, values[: self.output_count])
        losses = values[self.output_count : self.output_count + self.losses]
        masks.put_back(outputs, dict(zip(self.masks, values[self.output_count + self.losses :], strict=False)))
        for variable, value in zip(self.writes, values[self._before_writes :], strict=True):
            if active_frame() is None or value is not variable.read():  # a branch that does not write hands the old value on
                variable.assign(value)
        return outputs, losses

    @property
    def _is_open(self) -> bool:
        return self.signature.batch_size is None or bool(self.signature.lengths)

    def restricted(self, paths: Sequence[str | int]) -> Graph:
        """The part of the graph that gives the values of some nodes, one value (or a tuple of them) for each path.

        A number in place of a path stands for that output.

        Variables that are written on the way, such as moving statistics, are still written; losses of ``add_loss`` are left out.

        Raises:
            KeyError: for a path that the graph does not have.
            ValueError: for a node inside a loop or a branch, whose values do not leave it.
        """
        made = {v for e in parts(self.jaxpr).eqns for v in e.outvars} | set(parts(self.jaxpr).invars)
        wanted = []
        for path in paths:
            values = self._values_at(path)
            if not values or any(isinstance(v, Literal) or v not in made for v in values):
                raise ValueError(f"The value of {path!r} does not leave the loop or branch that it is computed in.")
            wanted.append(values)
        outputs = [v for values in wanted for v in values]
        first = jax_compat.restricted(self.jaxpr, outputs)
        computed = {v for e in parts(first).eqns for v in e.outvars}
        after = parts(self.jaxpr).outvars[self._before_writes :]
        writes = [(w, v) for w, v in zip(self.writes, after, strict=True) if not isinstance(v, Literal) and v in computed]
        jaxpr = jax_compat.restricted(self.jaxpr, [*outputs, *(v for _, v in writes)])
        used = self._walk.paths_of(parts(jaxpr).eqns)
        return dataclasses.replace(
            self,
            jaxpr=jaxpr,
            output_tree=jax.tree.structure([tuple(v) if len(v) > 1 else v[0] for v in wanted]),
            output_count=len(outputs),
            calls=[n for n in self.calls if n.path in used],
            writes=[w for w, _ in writes],
            losses=0,
            masks=(),
        )

    def values_outside(self) -> list[str]:
        """Paths of the nodes at the model's own level whose values exist outside of loops and branches."""
        made = {v for e in parts(self.jaxpr).eqns for v in e.outvars}
        return [n.path for n in self.children() if n.outputs and made.issuperset(self._walk.values.get(n.path) or [None])]

    def _values_at(self, place: str | int) -> list[Any]:
        if isinstance(place, int):
            return [self._output_vars[place]]
        if place in self._walk.values:
            return self._walk.values[place]
        ends = zip([*self._walk.inputs, *self._walk.outputs], [*self._input_vars, *self._output_vars], strict=True)
        return [dict(ends)[self[place]]]

    def sources(self, path: str) -> list[tuple[str, int]]:
        """Where the arrays that a layer call takes come from: the path of a node or input, and which of its values it is.

        Raises:
            ValueError: where arrays of equal shapes cannot be told apart, or an array that is taken is not used.
        """
        node = self[path]
        fed = {var: source for source, target, var in self._walk.edges if target == path}
        places = []
        for spec in node.inputs:
            found = [(var, source) for var, source in fed.items() if spec_of(var.aval) == spec]
            if len(found) != 1 or len(fed) != len(node.inputs):
                raise ValueError(
                    f"What {path!r} takes cannot be told: it has inputs of shapes {', '.join(str(s.shape) for s in node.inputs)}, and uses "
                    f"what comes from {', '.join(node.connected_to) or 'nothing'}. Take the outputs of those instead."
                )
            (var, source) = found[0]
            places.append((source, next((i for i, v in enumerate(self._walk.values.get(source, ())) if v is var), 0)))
        return places

    def coupling(self, training: bool) -> rows.Coupling | None:
        """None where no row of a batch influences another; else where and why one does."""
        if training not in self._couplings:
            self._couplings[training] = self._find_coupling(training)
        return self._couplings[training]

    @functools.cached_property
    def _couplings(self) -> dict[bool, rows.Coupling | None]:
        return {}

    def _find_coupling(self, training: bool) -> rows.Coupling | None:
        if self.signature.batch_size is not None:
            return rows.Coupling("the graph holds for one batch size only")
        if self.losses:
            return rows.Coupling("`add_loss` was called, whose value may depend on all rows")
        found = rows.coupling(self.jaxpr, training)
        if found is None and self.shapes_without_rows():
            return rows.Coupling("an output's first axis is not the batch")
        return found

    def cost(self, sizes: int | Mapping[str, int]) -> Cost:
        """Floating-point operations of one run at a batch size, or at open sizes such as ``{"batch": 32, "length": 50}``.

        Sizes that are not given are what they were in the capture.
        """
        every = self._every_size(sizes)
        key = tuple(sorted(every.items()))
        if key not in self._costs:
            self._costs[key] = cost(self.jaxpr, every)
        return self._costs[key]

    @functools.cached_property
    def _costs(self) -> dict[tuple, Cost]:
        return {}

    # ---- What it shows ----

    @property
    def _before_writes(self) -> int:
        return self.output_count + self.losses + len(self.masks)

    @property
    def _output_vars(self) -> list[Any]:
        return list(parts(self.jaxpr).outvars[: self.output_count])

    @property
    def inputs(self) -> Any:
        """Shapes of the inputs, in their structure, with None for the batch and other open sizes; what is no array stands for itself."""
        shown = zip(self.signature.shapes, self.signature.leaves, strict=True)
        return jax.tree.unflatten(self.signature.tree, [x.value if s == "value" else s for s, (_, x) in shown])

    @property
    def outputs(self) -> Any:
        """Shapes of the outputs, in their structure, with None for the batch and other open sizes."""
        return jax.tree.unflatten(self.output_tree, [shape_of(v.aval) for v in self._output_vars])

    def shapes_without_rows(self) -> list[tuple]:
        """Shapes of the outputs whose first axis is not the batch."""
        size = self.signature.batch_size
        found = []
        for var in self._output_vars:
            try:
                has_rows = rows.is_batch(var) if size is None else var.aval.shape[:1] == (size,)
            except rows.Coupled:
                has_rows = False
            if not has_rows:
                found.append(shape_of(var.aval))
        return found

    def _every_size(self, given: Any) -> dict[str, Any]:
        return {**self.present, **(given if isinstance(given, Mapping) else {BATCH: given})}

    def output_specs(self, sizes: Any) -> Any:
        """``ShapeDtypeStruct``s of the outputs at a batch size, or at open sizes by name (see ``cost``), in their structure."""
        return jax.tree.unflatten(self.output_tree, self.flat_specs(sizes)[: self.output_count])

    def flat_specs(self, sizes: Any) -> list[jax.ShapeDtypeStruct]:
        """The same as a list, with those of the outputs' masks at the end."""
        before, every = self.output_count + self.losses, self._every_size(sizes)

        def evaluated(axis: int, size: Any) -> Any:
            value = jax_compat.evaluate_size(size, every)
            return Open(value) if axis and isinstance(size, jax_compat.SymbolicSize) and isinstance(value, int) else value

        variables = (*self._output_vars, *parts(self.jaxpr).outvars[before : before + len(self.masks)])
        shapes = [tuple(itertools.starmap(evaluated, enumerate(getattr(v.aval, "shape", ())))) for v in variables]
        return [jax.ShapeDtypeStruct(s, v.aval.dtype) for s, v in zip(shapes, variables, strict=True)]

    @functools.cached_property
    def reads(self) -> list[Any]:
        """The variables that ``call`` read, in the order of their first reads."""
        return list(dict.fromkeys(e.params["variable"] for e in parts(self.jaxpr).eqns if e.primitive is read_variable_p))

    @functools.cached_property
    def output_names(self) -> list[str]:
        """One name an output: the key in a dict, else the layer that made it, else ``output_1``, ``output_2`` …"""
        structure = jax.tree.unflatten(self.output_tree, range(self.output_count))
        return output_names(structure, [None if isinstance(v, Literal) else self._maker.get(v) for v in self._output_vars])

    @functools.cached_property
    def _maker(self) -> dict[Any, str]:
        """The layer call whose output a value is: layers mark their outputs with a ``name`` equation."""
        known = {n.path for n in self.calls}
        return {e.outvars[0]: e.params["name"] for e in parts(self.jaxpr).eqns if e.primitive.name == "name" and e.params["name"] in known}

    @property
    def _input_vars(self) -> list[Any]:
        return list(parts(self.jaxpr).invars)

    @functools.cached_property
    def _walk(self) -> Walk:
        return Walk(self)

    @property
    def nodes(self) -> list[Node]:
        """Layer calls and the operations between them, in the order in which they ran; a layer comes before what is inside it."""
        return list(self._walk.nodes.values())

    @property
    def input_nodes(self) -> list[Node]:
        """One node for each array among the inputs."""
        return list(self._walk.inputs)

    @property
    def output_nodes(self) -> list[Node]:
        """One node for each array among the outputs."""
        return list(self._walk.outputs)

    @property
    def edges(self) -> list[Edge]:
        """Every connection: a value that one node makes and another takes, inputs and outputs of the graph included."""
        return list(self._walk.edges.values())

    @property
    def uncalled(self) -> list[Layer]:
        """Layers that the model holds and that ``call`` did not call. Of a layer of the library's, what it holds is its own affair."""
        called = {n.layer for n in self.calls}
        inside = {x for layer in called if layer is not None and is_ours(layer) for x in layer._flatten_layers()}
        return [x for x in self.layer._flatten_layers()[1:] if x not in called | inside]

    def children(self, path: str = "") -> list[Node]:
        """The nodes directly inside a layer call, or at the model's own level.

        Raises:
            KeyError: for a path that the graph does not have.
        """
        return [n for n in self.nodes if n.parent == (self[path].path if path != "" else "")]

    def diff(self, other: Graph) -> Difference:
        """What another capture of the model has otherwise: inputs, mode, nodes, constants, guards; in words (``str``) and as data."""
        if not isinstance(other, Graph):
            raise TypeError(
                f"graph.diff: other={other!r}; expected a Graph, as model.graph, model.capture(x) and model.ledger[i].graph give it."
            )
        return diff(self, other)

    def save(self, path: str | os.PathLike, format: str | None = None, **options: Any) -> str:
        """Draws the graph into a file, in the format that its ending says: svg, png, html, mmd, dot, json, model_explorer.json.

        Args:
            path: of the file.
            format: where the ending does not say it.
            options: see ``pellucid.utils.plot_model``.

        Returns:
            The path.
        """
        return render.save(self, path, format, **options)

    def _repr_html_(self) -> str:
        return render.notebook(self)

    def __getitem__(self, path: str) -> Node:
        if not isinstance(path, str):
            raise TypeError(f"graph[{path!r}]: expected the path of a node, a text such as 'hidden'; graph.nodes is the list of them.")
        nodes = {n.path: n for n in (*self.nodes, *self.input_nodes, *self.output_nodes)}
        if path not in nodes:
            near = difflib.get_close_matches(path, nodes, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            others = f" and {len(nodes) - _TOLD} more, see graph.nodes" if len(nodes) > _TOLD else ""
            raise KeyError(f"The graph has no node {path!r}.{hint} Its nodes: {', '.join(list(nodes)[:_TOLD])}{others}.")
        return nodes[path]

    def __repr__(self) -> str:
        return f"<Graph of {len(self.calls)} layer calls, inputs {self.signature}, outputs {self.outputs}>"


def output_names(outputs: Any, makers: list[str | None]) -> list[str]:
    """One name for each output, from its key in a dict or from the path of the layer that made it."""
    names: list[str] = []
    for number, ((path, _), maker) in enumerate(zip(jax.tree_util.tree_flatten_with_path(outputs)[0], makers, strict=True), 1):
        key = getattr(path[-1], "key", None) if path else None
        name = str(key) if isinstance(key, str) else (maker.split("/")[0].split("#")[0] if maker else f"output_{number}")
        names.append(name if name not in names else f"{name}_{number}")
    return names
