"""CIFAR-100: 60,000 coloured pictures in 100 classes, which form 20 groups, 32 x 32 (Krizhevsky, as CIFAR-10)."""

from __future__ import annotations

from pellucid.datasets import cifar
from pellucid.datasets.words import Split


def load_data(label_mode: str = "fine") -> tuple[Split, Split]:
    """The pictures and their classes. They are downloaded once, about 170 MB.

    Args:
        label_mode: "fine" for the 100 classes, "coarse" for the 20 groups.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``, uint8: 50,000 and 10,000 images (rows, 32, 32, 3), or (rows, 3, 32, 32) where
        ``config.image_data_format()`` is "channels_first", from 0 to 255, and classes (rows, 1).

    Raises:
        ValueError: for another ``label_mode``.
        ConnectionError: where it is not there and cannot be downloaded.
    """
    if label_mode not in ("fine", "coarse"):
        raise ValueError(f"cifar100.load_data: label_mode={label_mode!r}; expected 'fine' or 'coarse'.")
    folder = cifar.folder_of(
        "cifar-100-python-target",
        "cifar-100-python.tar.gz",
        "cifar-100-python",
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    )
    return cifar.read(folder, ["train"], f"{label_mode}_labels"), cifar.read(folder, ["test"], f"{label_mode}_labels")
