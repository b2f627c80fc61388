"""Views of graphs and ledgers: records first, renders later, and imported when something is to be seen."""

from typing import TYPE_CHECKING

from pellucid.core.lazily import at_first_use

if TYPE_CHECKING:
    from pellucid.graph.render import ledger
    from pellucid.graph.render.description import check_rankdir
    from pellucid.graph.render.files import OPTIONS, check_dpi, format_of, html, notebook, save
    from pellucid.graph.render.report import report
    from pellucid.graph.render.summary import summary_text
else:
    __getattr__, __dir__ = at_first_use()

__all__ = ["OPTIONS", "check_dpi", "check_rankdir", "format_of", "html", "ledger", "notebook", "report", "save", "summary_text"]
