"""A picture as an SVG file. The browser's script draws it, in a small JavaScript engine, so that files and pages look the same."""

from __future__ import annotations

import json
import threading
from concurrent.futures import Future
from typing import Any

from pellucid.graph.render.description import Picture, check_rankdir
from pellucid.graph.render.scripts import asset, dagre


def svg(picture: Picture, **options: Any) -> str:
    """The text of an SVG file.

    Args:
        picture: to draw.
        options: see ``pellucid.graph.render.save``.

    Raises:
        ImportError: where the engine is not installed.
    """
    drawn = _run(json.dumps(picture.as_dict()), json.dumps(settings(picture, **options)), asset("picture.css"))
    return json.loads(drawn)  # the engine hands over a long text only when it is in one piece, as that of JSON is


def settings(
    picture: Picture,
    *,
    rankdir: str = "TB",
    expand_nested: bool = True,
    show_shapes: bool = True,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> dict[str, Any]:
    """How to draw, in the words of the script.

    Raises:
        ValueError: for an unknown direction.
    """
    check_rankdir(rankdir)
    return {
        "rankdir": rankdir,
        "open": [box.path for box in picture.boxes if picture.children(box.path)] if expand_nested else [],
        "shapes": show_shapes,
        "dtypes": show_dtype,
        "names": show_layer_names,
        "activations": show_layer_activations,
        "trainable": show_trainable,
    }


_STACK = 64 << 20  # dagre goes along a chain of layers by recursion


def _run(*texts: str) -> str:
    """Calls the script's function, in an engine and a thread of its own, since the engine's stack is the thread's."""
    try:
        import quickjs  # an optional third party
    except ImportError:
        raise ImportError(
            "Drawing a graph as svg or png needs a small JavaScript engine, which lays it out: pip install 'pellucid[plot]'. "
            "A drawing as html needs nothing: give the file a name that ends in .html."
        ) from None
    result: Future[str] = Future()

    def work() -> None:
        try:
            context = quickjs.Context()
            context.set_max_stack_size(_STACK - (4 << 20))
            context.eval("\n".join([_COPY, dagre(), asset("picture.js"), _CALL]))
            result.set_result(context.get("draw")(*texts))
        except BaseException as error:
            result.set_exception(error)

    with _threads:
        before = threading.stack_size(_STACK)
        try:
            thread = threading.Thread(target=work, name="pellucid-draw")
            thread.start()
        finally:
            threading.stack_size(before)
    thread.join()
    return result.result()


_threads = threading.Lock()  # the size of a stack is set for the whole process
# dagre copies lists of lists with it; the engine knows the language, and no browser's functions.
_COPY = "var structuredClone = value => JSON.parse(JSON.stringify(value));"
_CALL = """function draw(picture, settings, style) {
  return JSON.stringify(pellucidPicture.file(JSON.parse(picture), JSON.parse(settings), style));
}"""
