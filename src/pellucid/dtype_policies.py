"""Data type policies: in which type a layer computes, and in which its weights are kept."""

from pellucid.core.policies import DTypePolicy, DTypePolicyMap, FloatDTypePolicy, deserialize, get, serialize

__all__ = ["DTypePolicy", "DTypePolicyMap", "FloatDTypePolicy", "deserialize", "get", "serialize"]
