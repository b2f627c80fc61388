"""``plot_model``: a drawing of a model as a file."""

from __future__ import annotations

import os
from typing import Any

from pellucid.core.checks import check_flags, check_path
from pellucid.core.layer import Layer
from pellucid.graph import render
from pellucid.graph.graph import Graph


def plot_model(
    model: Any,
    to_file: str | os.PathLike = "model.png",
    show_shapes: bool = True,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = True,
    dpi: float = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> str:
    """Draws what ``call`` of a model did: layers, the operations between them, and how they are connected.

    Needs no system package. A name that ends in .svg or .png needs ``pip install 'pellucid[plot]'``; one that ends in .html, .mmd
    (Mermaid), .dot or .json needs nothing. A text format takes those of the options that it has a use for.

    Args:
        model: whose ``call`` was captured: after ``build``, ``capture``, ``fit`` or any use.
        to_file: name of the file; its ending says the format.
        show_shapes: whether connections have the shapes of what they carry.
        show_dtype: whether they also have its data type.
        show_layer_names: whether boxes have the layers' names, not only their classes.
        rankdir: "TB" downwards, "BT" upwards, "LR" to the right, "RL" to the left.
        expand_nested: whether layers show what is inside.
        dpi: points an inch of a png.
        show_layer_activations: whether boxes name the activation.
        show_trainable: whether boxes say if the layer is trainable.

    Returns:
        The name of the file.

    Raises:
        TypeError: for what is no model.
        ValueError: where nothing was captured yet, or for an unknown format, direction or value of an option.
        ImportError: for svg and png, where ``pellucid[plot]`` is not installed.

    Example:
        >>> import pathlib, tempfile, pellucid
        >>> class M(pellucid.Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.out = pellucid.layers.Dense(2)
        ...     def call(self, x):
        ...         return self.out(x)
        >>> model = M()
        >>> model.build((None, 6))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pellucid.utils.plot_model(model, f"{folder}/model.mmd")
        ...     print(pathlib.Path(file).read_text().splitlines()[4])
          n0 -->|"(None, 6)"| n1
    """
    graph = getattr(model, "graph", None) if isinstance(model, Layer) and hasattr(type(model), "graph") else _no_graph(model)
    if graph is None:
        raise ValueError(f"plot_model: `call` of {model.name!r} was not captured yet. Build it first: model.build((None, …)).")
    flags: dict[str, Any] = {
        "show_shapes": show_shapes,
        "show_dtype": show_dtype,
        "show_layer_names": show_layer_names,
        "expand_nested": expand_nested,
        "show_layer_activations": show_layer_activations,
        "show_trainable": show_trainable,
    }
    check_flags("plot_model", **flags)
    check_path("plot_model", "to_file", to_file, "the name of a file, such as 'model.svg'")
    render.check_rankdir(rankdir, "plot_model")
    render.check_dpi(dpi, "plot_model")
    chosen = {**flags, "rankdir": rankdir, "dpi": dpi}
    useful = render.OPTIONS[render.format_of(to_file)]
    return render.save(graph, to_file, **{name: value for name, value in chosen.items() if name in useful})


def _no_graph(given: Any) -> Any:
    cure = "Draw it with graph.save(path)." if isinstance(given, Graph) else ""
    if isinstance(given, Layer):
        cure = "A layer is drawn as part of a model, such as pellucid.Sequential([pellucid.Input(shape), layer])."
    raise TypeError(f"plot_model: model={given!r}; expected a Model. {cure}".rstrip())
