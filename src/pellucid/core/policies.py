"""Data type policies: in which type a layer computes, and in which its weights are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping
from typing import Any

from pellucid.core import dtypes, serialization
from pellucid.errors import did_you_mean

MIXED = {"mixed_float16": ("float16", "float32"), "mixed_bfloat16": ("bfloat16", "float32")}  # (compute, variables)
_QUANTIZED = ("int8", "float8", "int4", "gptq", "awq")  # begin names such as int8_from_float32

_global: DTypePolicy | None = None


class DTypePolicy:
    """In which data type a layer computes, and in which its weights are kept.

    Args:
        name: of a data type, for both; or "mixed_float16" or "mixed_bfloat16": computes in that one, weights are float32.
            By default that of ``dtype_policy()``.

    Raises:
        TypeError: for what is no text.
        ValueError: for a name that is not known.

    Micikevicius et al., "Mixed precision training", ICLR 2018.

    Example:
        >>> import pellucid
        >>> policy = pellucid.DTypePolicy("mixed_bfloat16")
        >>> policy.compute_dtype, policy.variable_dtype
        ('bfloat16', 'float32')
    """

    def __init__(self, name: str | None = None):
        self._name = dtype_policy().name if name is None else name
        self._compute_dtype, self._variable_dtype = _parsed(self._name)

    @property
    def name(self) -> str:
        """What it was made from, such as "mixed_float16"."""
        return self._name

    @property
    def compute_dtype(self) -> str:
        """The type that inputs and weights are cast to in ``call``."""
        return self._compute_dtype

    @property
    def variable_dtype(self) -> str:
        """The type that weights are kept and updated in."""
        return self._variable_dtype

    @property
    def quantization_mode(self) -> str | None:
        """None: layers are not quantized here."""
        return None

    def of(self, path: str) -> DTypePolicy:
        """The policy of the layer at a path: this one, unless it is a map."""
        return self

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal policy."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DTypePolicy:
        """The policy that ``get_config`` told."""
        return cls(**config)

    def _keras_entry(self) -> tuple[str, str, None]:
        return ("keras", "DTypePolicy", None)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.name == self.name  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self.name}">'


FloatDTypePolicy = DTypePolicy  # an older name


class DTypePolicyMap(DTypePolicy, MutableMapping):
    """Policies by the paths of layers. A key is a path, or a regular expression that matches all of one.

    Args:
        default_policy: of layers that no key names; by default ``dtype_policy()`` of the moment that is asked.
        policy_map: dict from keys to policies or their names.

    Raises:
        TypeError, ValueError: for a map in place of the default, for what is no dict.

    Example:
        >>> import pellucid
        >>> policies = pellucid.dtype_policies.DTypePolicyMap("mixed_bfloat16", {"decoder/.*": "float32"})
        >>> policies["decoder/out"].name, policies["encoder/out"].name
        ('float32', 'mixed_bfloat16')
    """

    def __init__(self, default_policy: Any = None, policy_map: dict[str, Any] | None = None):
        if isinstance(default_policy, DTypePolicyMap):
            raise ValueError(f"DTypePolicyMap: default_policy={default_policy!r}; expected a policy, its name or None, and no map.")
        if policy_map is not None and not isinstance(policy_map, dict):
            raise TypeError(f"DTypePolicyMap: policy_map={policy_map!r}; expected a dict from paths of layers to policies.")
        self._default = None if default_policy is None else get(default_policy)
        self._policies = {key: get(policy) for key, policy in (policy_map or {}).items()}

    @property
    def default_policy(self) -> DTypePolicy:
        """That of layers that no key names."""
        return dtype_policy() if self._default is None else self._default

    @property
    def name(self) -> str:
        return f"map_{self.default_policy.name}"

    @property
    def compute_dtype(self) -> str:
        return self.default_policy.compute_dtype

    @property
    def variable_dtype(self) -> str:
        return self.default_policy.variable_dtype

    def of(self, path: str) -> DTypePolicy:
        return self[path]

    def __getitem__(self, key: str) -> DTypePolicy:
        if key in self._policies:
            return self._policies[key]
        found = [pattern for pattern in self._policies if re.fullmatch(pattern, key)]
        if len(found) > 1:
            raise ValueError(f"DTypePolicyMap: {key!r} matches {', '.join(map(repr, found))}; expected one of its keys at most.")
        return self._policies[found[0]] if found else self.default_policy

    def __setitem__(self, key: str, policy: Any) -> None:
        if key in self._policies:
            raise ValueError(f"DTypePolicyMap: {key!r} has {self._policies[key]!r}; expected a new key. Delete that one first.")
        self._policies[key] = get(policy)

    def __delitem__(self, key: str) -> None:
        del self._policies[key]

    def __contains__(self, key: object) -> bool:
        return key in self._policies

    def __len__(self) -> int:
        return len(self._policies)

    def __iter__(self) -> Iterator[str]:
        return iter(self._policies)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicyMap) and (self._default, self._policies) == (other._default, other._policies)

    __hash__ = None  # type: ignore[assignment]

    def _keras_entry(self) -> tuple[str, str, None]:
        return ("keras.dtype_policies", "DTypePolicyMap", None)

    def get_config(self) -> dict[str, Any]:
        parts = self._default, self._policies
        return dict(zip(("default_policy", "policy_map"), map(serialization.serialize_keras_object, parts), strict=True))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DTypePolicyMap:
        return cls(**{name: serialization.deserialize_keras_object(value) for name, value in config.items()})

    def __repr__(self) -> str:
        return f"<DTypePolicyMap default_policy={self.default_policy.name!r}, { ({k: v.name for k, v in self._policies.items()}) }>"


def dtype_policy() -> DTypePolicy:
    """The policy of layers that are given none: what ``set_dtype_policy`` was told, else that of ``floatx()``.

    Example:
        >>> import pellucid
        >>> pellucid.config.dtype_policy()
        <DTypePolicy "float32">
    """
    return DTypePolicy(dtypes.floatx()) if _global is None else _global


def set_dtype_policy(policy: Any) -> None:
    """Sets what ``dtype_policy`` returns: layers that are made from then on compute so.

    Args:
        policy: a name, such as "mixed_bfloat16", or a ``DTypePolicy``; None for that of ``floatx()`` again. "float64" makes JAX
            compute in 64 bits from then on (``jax_enable_x64``), in all of the process.

    Raises:
        ValueError: for another value.
    """
    global _global
    if policy is not None and not isinstance(policy, str | DTypePolicy):
        raise ValueError(f"set_dtype_policy: policy={policy!r}; expected a name such as 'mixed_bfloat16', a DTypePolicy, or None.")
    policy = None if policy is None else get(policy)
    if policy is not None and "float64" in (policy.compute_dtype, policy.variable_dtype):
        dtypes.turn_on_64_bits()
    _global = policy


def get(identifier: Any) -> DTypePolicy:
    """A policy from its name, a data type, a config or itself; None gives ``dtype_policy()``.

    Raises:
        ValueError: for what is none of these.

    Example:
        >>> import pellucid
        >>> pellucid.dtype_policies.get("mixed_float16")
        <DTypePolicy "mixed_float16">
    """
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        return deserialize(identifier)
    return DTypePolicy(identifier if isinstance(identifier, str) else dtypes.standardize_dtype(identifier))


def serialize(dtype_policy: DTypePolicy) -> dict[str, Any]:
    """A policy as plain data, which Keras reads, too."""
    return serialization.serialize_keras_object(dtype_policy)


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> DTypePolicy:
    """The policy that ``serialize`` told.

    Args:
        config: its class and its config.
        custom_objects: classes of one's own, by name.

    Raises:
        ValueError: for a config of something else.
    """
    known = {cls.__name__: cls for cls in (DTypePolicy, DTypePolicyMap)}
    with serialization.CustomObjectScope({**known, "FloatDTypePolicy": DTypePolicy, **(custom_objects or {})}):
        found = serialization.deserialize_keras_object(config)
    if not isinstance(found, DTypePolicy):
        raise ValueError(f"dtype_policies: {config!r} is no config of a policy; expected what dtype_policies.serialize gives.")
    return found


def _parsed(name: Any) -> tuple[str, str]:
    """(compute type, variable type) of a policy's name."""
    if not isinstance(name, str):
        raise TypeError(f"DTypePolicy: name={name!r} is a {type(name).__name__}; expected a text such as 'mixed_bfloat16'.")
    if name in MIXED:
        return MIXED[name]
    if name.startswith(_QUANTIZED) and "_from_" in name:
        raise ValueError(f"DTypePolicy: name={name!r} asks for quantization, which is not offered; expected a policy of floats.")
    if name in ("float", "int"):
        return (dtypes.standardize_dtype(name),) * 2
    if name not in dtypes.NAMES:
        raise ValueError(
            f"DTypePolicy: name={name!r} is no policy; expected 'mixed_float16', 'mixed_bfloat16' or a data type such as 'float32'. "
            f"{did_you_mean(name, (*MIXED, *dtypes.NAMES))}"
        )
    return name, name
