"""Where the time of a step goes: steps under JAX's profiler, whose events lead back to layers by the scopes in the compiled program.

``hlo`` reads the program, ``scopes`` finds the part that an instruction belongs to, ``attribution`` gives the wall time away, ``trace``
and ``measure`` run the steps; ``profiler`` puts it together.
"""

from pellucid.training.profiling.profiler import Profile, profile

__all__ = ["Profile", "profile"]
