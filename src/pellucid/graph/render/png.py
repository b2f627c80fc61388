"""An SVG as PNG."""

from __future__ import annotations

from typing import Any

_WORD = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><text x="2" y="15" font-family="{}">Mm</text></svg>'
# The first that the machine has is drawn with.
_FAMILIES = "Helvetica, Arial, Liberation Sans, DejaVu Sans, Noto Sans, sans-serif"


def png(svg: str, dpi: float = 192, **fonts: Any) -> bytes:
    """The bytes of a PNG file.

    Args:
        svg: text of an SVG file.
        dpi: points an inch; an SVG has 96.
        fonts: where to look for fonts, as resvg takes it (``font_files``, ``skip_system_fonts``).

    Raises:
        ImportError: where the library that draws is not installed.
        ValueError: for an image that is too large.
        RuntimeError: where the machine has no font, so that no text could be drawn.
    """
    try:
        import resvg_py  # an optional third party
    except ImportError:
        raise ImportError("Drawing a graph as png needs resvg: pip install 'pellucid[plot]'.") from None
    text, nothing = (bytes(resvg_py.svg_to_bytes(svg_string=_WORD.format(_FAMILIES).replace("Mm", s), **fonts)) for s in ("Mm", " "))
    if text == nothing:
        raise RuntimeError("No font was found on this machine, so a png would have no text. Install a font, or draw svg or html.")
    try:
        return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=dpi / 96, **fonts))
    except ValueError as error:
        raise ValueError(
            f"dpi={dpi:g}: the png would be too large or too small ({error}); expected about 192. An svg has any size."
        ) from None
