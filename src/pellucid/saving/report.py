"""LoadReport: what of a file went into a model."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple


class Misfit(NamedTuple):
    """A weight that is missing in the file, or in the model, or has another shape there."""

    weight: str | None  # path in the model, such as "encoder/dense/kernel"; None where it has none
    place: str  # in the file
    shape: tuple[int, ...] | None  # in the model
    in_file: tuple[int, ...] | None

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.place} {self.in_file}"
        shapes = str(self.shape) if self.in_file is None else f"{self.in_file} in the file, {self.shape} in the model"
        return f"{self.weight} {shapes}, at {self.place}"


@dataclasses.dataclass(repr=False)
class LoadReport:
    """What ``load_weights`` did.

    Args:
        file: name of the file.
        model: name of what it was loaded into.
        loaded: paths of the weights by their places in the file.
        missing: weights that the file does not have.
        unexpected: arrays of the file that the model has no use for.
        other_shape: weights of another shape in the file.
        failed: what ``load_own_variables`` of a layer raised, by path of the layer.
        optimizer: what became of the state of the optimizer.
    """

    file: str
    model: str
    loaded: dict[str, str] = dataclasses.field(default_factory=dict)
    missing: list[Misfit] = dataclasses.field(default_factory=list)
    unexpected: list[Misfit] = dataclasses.field(default_factory=list)
    other_shape: list[Misfit] = dataclasses.field(default_factory=list)
    failed: dict[str, str] = dataclasses.field(default_factory=dict)
    optimizer: str = "none in the file"

    @property
    def complete(self) -> bool:
        """Whether every weight was loaded, and the file has no other ones."""
        return not (self.missing or self.unexpected or self.other_shape or self.failed)

    def misfits(self, longest: int = 20) -> str:
        """A line for each weight that does not fit."""
        parts = {"missing in the file": self.missing, "not in the model": self.unexpected, "of another shape": self.other_shape}
        lines = [f"  {what}: {misfit}" for what, misfits in parts.items() for misfit in misfits]
        lines += [f"  load_own_variables of {path}: {error}" for path, error in self.failed.items()]
        more = [f"  and {len(lines) - longest} more"] if len(lines) > longest else []
        return "\n".join(lines[:longest] + more)

    def __repr__(self) -> str:
        counts = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.other_shape, "failed": self.failed}
        others = "".join(f", {len(found)} {what}" for what, found in counts.items() if found)  # type: ignore[arg-type]
        first = f"{self.file}: {len(self.loaded)} weights loaded into {self.model!r}{others}; optimizer state: {self.optimizer}"
        return "\n".join([first, *([] if self.complete else [self.misfits()])])
