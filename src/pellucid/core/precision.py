"""In which data types a layer computes and keeps its weights."""

from __future__ import annotations

from typing import Any

from pellucid.core import dtypes, policies
from pellucid.core.tree import Tree


class Precision(Tree):
    """A layer's policy of data types."""

    @property
    def dtype_policy(self) -> policies.DTypePolicy:
        """In which data type it computes, and in which its weights are kept. A new one counts from the next run of ``call`` on."""
        return self._state.policy

    @dtype_policy.setter
    def dtype_policy(self, value: Any) -> None:
        new, old = policies.get(value), self._state.policy
        if isinstance(old, policies.DTypePolicyMap) and not isinstance(new, policies.DTypePolicyMap):  # of this layer alone
            changed = {**{key: old[key] for key in old if key != self.path}, self.path: new}
            new = policies.DTypePolicyMap(old.default_policy, changed)
        self._state.policy = self._checked(new)
        self._changed()

    def _checked(self, policy: policies.DTypePolicy) -> policies.DTypePolicy:
        for dtype in (policy.compute_dtype, policy.variable_dtype):
            dtypes.check_64_bits(f"{type(self).__name__} {self.name!r}", dtype)
        return policy

    @property
    def _policy(self) -> policies.DTypePolicy:
        policy = self._state.policy
        return policy.of(self.path) if isinstance(policy, policies.DTypePolicyMap) else policy

    @property
    def dtype(self) -> str:
        """Data type of the weights, as ``variable_dtype``."""
        return self._policy.variable_dtype

    @property
    def variable_dtype(self) -> str:
        """Data type of the weights."""
        return self._policy.variable_dtype

    @property
    def compute_dtype(self) -> str:
        """Data type that inputs, and in ``call`` trained weights, are cast to."""
        return self._policy.compute_dtype

    @property
    def input_dtype(self) -> str:
        """Data type that inputs are cast to."""
        return self._policy.compute_dtype

    @property
    def quantization_mode(self) -> str | None:
        """None: layers are not quantized here."""
        return None

    @property
    def autocast(self) -> bool:
        """Whether inputs, and in ``call`` trained weights, are cast to ``compute_dtype``."""
        return self._state.autocast

    @autocast.setter
    def autocast(self, value: bool) -> None:
        self._state.autocast = bool(value)
        self._changed()

    def _written_policy(self) -> Any:
        """The policy as plain data: its name, or all of a map."""
        policy = self._state.policy
        return policies.serialize(policy) if isinstance(policy, policies.DTypePolicyMap) else policy.name
