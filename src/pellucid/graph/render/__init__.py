"""Views of graphs and ledgers: records first, renders later."""

from pellucid.graph.render.description import check_rankdir
from pellucid.graph.render.files import OPTIONS, check_dpi, format_of, html, notebook, save
from pellucid.graph.render.summary import summary_text

__all__ = ["OPTIONS", "check_dpi", "check_rankdir", "format_of", "html", "notebook", "save", "summary_text"]
