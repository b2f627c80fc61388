"""Data sets. ``california_housing`` comes with the package; the others are downloaded once into ``~/.keras/datasets``, as Keras does."""

from pellucid.datasets import boston_housing, california_housing, cifar10, cifar100, fashion_mnist, imdb, mnist, reuters

__all__ = ["boston_housing", "california_housing", "cifar10", "cifar100", "fashion_mnist", "imdb", "mnist", "reuters"]
