"""A small model learns from a large one: `compute_loss` is the only thing that is written by hand.

Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015.
"""

import pellucid as keras
from pellucid import layers, ops
from pellucid.datasets import california_housing


def perceptron(units, depth, name):
    hidden = [layers.Dense(units, activation="relu") for _ in range(depth)]
    return keras.Sequential([layers.Normalization(name="scale"), *hidden, layers.Dense(1)], name=name)


class Distiller(keras.Model):
    def __init__(self, student, teacher, share=0.7):
        super().__init__()
        self.student, self.teacher, self.share = student, teacher, share
        self.teacher.trainable = False

    def call(self, x, training=None):
        return self.student(x, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        own = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return own
        taught = ops.mean(ops.square(y_pred - self.teacher(x, training=False)))
        return (1 - self.share) * own + self.share * taught


def main(rows=15_480, epochs=20):
    keras.utils.set_random_seed(1)
    (x, y), (x_test, y_test) = california_housing.load_data(test_split=0.25)
    x, x_test = california_housing.to_averages(x), california_housing.to_averages(x_test)
    x, y, y_test = x[:rows], y[:rows, None] / 1e5, y_test[:, None] / 1e5

    def trained(model, epochs):
        model.compile(optimizer="adam", loss="mse")
        model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
        return model

    def scaled(model):
        model.get_layer("scale").adapt(x)
        return model

    teacher = trained(scaled(perceptron(128, 3, "teacher")), 2 * epochs)
    alone = trained(scaled(perceptron(8, 1, "alone")), epochs)
    distiller = trained(Distiller(scaled(perceptron(8, 1, "student")), teacher), epochs)
    errors = {m.name: float(m.evaluate(x_test, y_test, batch_size=512, verbose=0)) for m in (teacher, alone, distiller)}
    for name, error in errors.items():
        print(f"{name:>10}: mean squared error {error:.3f}")
    distiller.explain()
    return errors


if __name__ == "__main__":
    main()
