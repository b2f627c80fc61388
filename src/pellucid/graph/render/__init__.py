"""Views of graphs and ledgers: records first, renders later."""

from pellucid.graph.render.summary import summary_text

__all__ = ["summary_text"]
