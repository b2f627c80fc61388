"""Views of graphs and ledgers: records first, renders later."""

from pellucid.graph.render.files import OPTIONS, format_of, html, notebook, save
from pellucid.graph.render.summary import summary_text

__all__ = ["OPTIONS", "format_of", "html", "notebook", "save", "summary_text"]
