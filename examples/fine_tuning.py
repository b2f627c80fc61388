"""Fine-tuning: a model of inland prices learns those of the coast, at first with its hidden layers frozen.

Freezing works at the next step: there is nothing to compile again by hand, and what the optimizer keeps of other weights stays.
"""

import pellucid as keras
from pellucid import layers
from pellucid.datasets import california_housing


class Prices(keras.Model):
    def __init__(self, units=64):
        super().__init__()
        self.scale = layers.Normalization()
        self.hidden1, self.hidden2 = layers.Dense(units, activation="relu"), layers.Dense(units, activation="relu")
        self.norm, self.out = layers.BatchNormalization(), layers.Dense(1)

    def call(self, x, training=None):
        hidden = self.hidden2(self.hidden1(self.scale(x)))
        return self.out(self.norm(hidden, training=training))


def main(rows=20_640, epochs=10):
    keras.utils.set_random_seed(1)
    (x, y), _ = california_housing.load_data(test_split=0)
    x, y = california_housing.to_averages(x[:rows]), y[:rows, None] / 1e5
    coast = x[:, -1] < -122.0 + 0.75 * (37.5 - x[:, -2])  # west of a line along the coast
    model = Prices()
    model.scale.adapt(x)
    model.compile(optimizer=keras.optimizers.Adam(0.003), loss="mse", metrics=["mae"])
    print(f"inland, {int((~coast).sum()):,} districts")
    model.fit(x[~coast], y[~coast], batch_size=64, epochs=epochs, verbose=2)

    errors = {"before": model.evaluate(x[coast], y[coast], verbose=0)[0]}
    data = {"x": x[coast], "y": y[coast], "batch_size": 32, "validation_split": 0.3, "verbose": 2}
    print(f"coast, {int(coast.sum()):,} districts, hidden layers frozen")
    model.hidden1.trainable = model.hidden2.trainable = False
    errors["frozen"] = model.fit(**data, epochs=epochs).history["val_loss"][-1]

    print("all layers, slowly")
    model.hidden1.trainable = model.hidden2.trainable = True
    model.optimizer.learning_rate = 3e-4
    errors["all"] = model.fit(**data, epochs=epochs).history["val_loss"][-1]
    print("mean squared error on the coast:", ", ".join(f"{name} {error:.3f}" for name, error in errors.items()))
    model.explain()
    return errors


if __name__ == "__main__":
    main()
