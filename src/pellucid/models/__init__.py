"""Models: layers that can be compiled and trained."""

from pellucid.models.model import Model

__all__ = ["Model"]
