"""A picture as a graph for Google's Model Explorer: the JSON that its viewer opens and that its adapters return.

The format is that of ``graph_builder.py`` in https://github.com/google-ai-edge/model-explorer. Its layers are namespaces, so an open
layer call has no node of its own, and edges join the nodes inside.
"""

from __future__ import annotations

from typing import Any

from pellucid.graph.render.description import Box, Picture


def collection(picture: Picture) -> dict[str, Any]:
    """A graph collection: ``{"label": ..., "graphs": [{"id": ..., "nodes": [...]}]}``."""
    boxes = {box.path: box for box in picture.boxes}
    incoming: dict[str, list[dict[str, str]]] = {}
    for arrow in picture.leaf_arrows():
        edges = incoming.setdefault(arrow.target, [])
        for value in arrow.values:
            outputs = boxes[arrow.source].outputs
            output = outputs.index(value) if value in outputs else 0
            edges.append({"sourceNodeId": arrow.source, "sourceNodeOutputId": str(output), "targetNodeInputId": str(len(edges))})
    nodes = [
        {
            "id": box.path,
            "label": box.kind if box.role == "layer" else box.name,
            "namespace": _namespace(boxes, box.parent),
            "attrs": _pairs(_about(box)),
            "incomingEdges": incoming.get(box.path, []),
            "outputsMetadata": [
                {
                    "id": str(i),
                    "attrs": _pairs({"tensor_shape": f"{dtype}[{shape.strip('()').rstrip(',')}]", "shape": shape, "dtype": dtype}),
                }
                for i, (shape, dtype) in enumerate(box.outputs)
            ],
        }
        for box in picture.boxes
        if not picture.children(box.path)
    ]
    groups = {_namespace(boxes, box.path): _about(box) for box in picture.boxes if picture.children(box.path)}
    groups[""] = {"model": picture.kind, "parameters": f"{picture.parameters:,}", "flops_a_row": f"{picture.flops:,.0f}"} | (
        {"never called": ", ".join(x.path for x in picture.uncalled)} if picture.uncalled else {}
    )
    return {"label": picture.kind, "graphs": [{"id": picture.name, "nodes": nodes, "groupNodeAttributes": groups}]}


def _namespace(boxes: dict[str, Box], path: str) -> str:
    """The layer calls around, from the outside in. A name such as ``blocks/0`` is one step."""
    steps = []
    while path:
        steps.append(boxes[path].name.replace("/", "."))
        path = boxes[path].parent
    return "/".join(reversed(steps))


def _about(box: Box) -> dict[str, str]:
    facts = {
        "path": box.path,
        "kind": box.kind,
        "parameters": f"{box.parameters:,}" if box.role == "layer" or box.parameters else "",
        "trainable": "" if box.trainable is None else str(box.trainable),
        "activation": box.activation,
        "shared": "with an earlier call" if box.shared else "",
        "flops_a_row": f"{box.flops:,.0f}" if box.role in ("layer", "operation") else "",
        "source": f"{box.place}: {box.line}".rstrip(": ") if box.place else "",
    }
    return {key: value for key, value in facts.items() if value}


def _pairs(facts: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in facts.items()]
