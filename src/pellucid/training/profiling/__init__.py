"""Where the time of a step goes: steps under JAX's profiler, whose events lead back to layers by the scopes in the compiled program.

``hlo`` reads the program, ``scopes`` finds the part that an instruction belongs to, ``attribution`` gives the wall time away, ``trace``
and ``measure`` run the steps; ``profiler`` puts it together.
"""

from typing import TYPE_CHECKING

from pellucid.core.lazily import at_first_use

if TYPE_CHECKING:
    from pellucid.training.profiling.profiler import Profile, profile
else:
    __getattr__, __dir__ = at_first_use()

__all__ = ["Profile", "profile"]
