"""Models: layers that can be compiled and trained."""

from pellucid.layers.input import Input
from pellucid.models.cloning import clone_model, model_from_json
from pellucid.models.functionalize import Pure, functionalize
from pellucid.models.model import Model
from pellucid.models.sequential import Sequential

__all__ = ["Input", "Model", "Pure", "Sequential", "clone_model", "functionalize", "model_from_json"]
