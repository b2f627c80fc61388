"""Small real data sets that come with the package and load without a network."""

from pellucid.datasets import california_housing

__all__ = ["california_housing"]
