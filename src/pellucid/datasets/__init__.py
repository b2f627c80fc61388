"""Data sets. ``california_housing`` comes with the package; the others are downloaded once into ``~/.keras/datasets``, as Keras does."""

from typing import TYPE_CHECKING

from pellucid.core.lazily import at_first_use

if TYPE_CHECKING:
    from pellucid.datasets import boston_housing, california_housing, cifar10, cifar100, fashion_mnist, imdb, mnist, reuters
else:
    __getattr__, __dir__ = at_first_use()

__all__ = ["boston_housing", "california_housing", "cifar10", "cifar100", "fashion_mnist", "imdb", "mnist", "reuters"]
