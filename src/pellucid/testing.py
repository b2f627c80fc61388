"""Helpers for tests of models."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pellucid.core.checks import check_whole
from pellucid.models import Model


@contextlib.contextmanager
def assert_captures(model: Model, at_most: int | None = None, exactly: int | None = None) -> Iterator[None]:
    """Fails where ``call`` of a model is captured more often than expected inside the ``with``; it tells each reason.

    Captures that raised count, too.

    Args:
        model: whose captures are counted.
        at_most: allowed number.
        exactly: number, in place of ``at_most``.

    Raises:
        AssertionError: with the sentences of the ledger.
        TypeError: for what is no model.
        ValueError: unless one of the two numbers is given.

    Example:
        >>> import numpy as np, pellucid
        >>> class M(pellucid.Model):
        ...     def call(self, x):
        ...         return x.sum(axis=-1)
        >>> model = M()
        >>> with pellucid.testing.assert_captures(model, at_most=1):
        ...     for rows in (4, 7):
        ...         outputs = model.predict(np.ones((rows, 3)), verbose=0)
    """
    if (at_most is None) == (exactly is None):
        raise ValueError(f"assert_captures: at_most={at_most!r}, exactly={exactly!r}; expected one of the two to be a number.")
    if not isinstance(model, Model):
        raise TypeError(f"assert_captures: model={model!r}; expected a Model, which has a ledger.")
    check_whole("assert_captures", *(("at_most", at_most) if exactly is None else ("exactly", exactly)), least=0)
    before = model.ledger.capture_count
    yield
    count = model.ledger.capture_count - before
    allowed = at_most if exactly is None else exactly
    assert allowed is not None
    if count > allowed or (exactly is not None and count != exactly):
        runs = [run for run in model.ledger if run.kind == "capture"][-count or len(model.ledger) :]
        told = "".join(f"\n  {number}. in {run.caller}: {run.sentence}" for number, run in enumerate(runs, 1))
        expected = f"at most {at_most}" if exactly is None else f"exactly {exactly}"
        raise AssertionError(f"`call` of {model.ledger.name} was captured {_times(count)}; expected {expected}.{told}")


def _times(count: int) -> str:
    return {0: "not at all", 1: "once"}.get(count, f"{count} times")
