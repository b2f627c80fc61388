"""Penalties on what goes through."""

from tests.layers.case import Case, normal

CASES = {"ActivityRegularization": Case(lambda k: k.layers.ActivityRegularization(l1=0.1, l2=0.2), normal(4, 6), couples=True)}
