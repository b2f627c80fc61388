"""The wide-and-deep model on California housing: trained for 20 epochs, with `call` run once.

Cheng et al., "Wide & deep learning for recommender systems", 2016; the model is the one of A. Géron's "Hands-on machine
learning" (chapter 10), as people write it for Keras.
"""

import pathlib

import numpy as np

import pellucid as keras
from pellucid.datasets import california_housing


class WideAndDeepModel(keras.Model):
    def __init__(self, units=30, activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.hidden1 = keras.layers.Dense(units, activation=activation)
        self.hidden2 = keras.layers.Dense(units, activation=activation)
        self.main_output = keras.layers.Dense(1)
        self.aux_output = keras.layers.Dense(1)

    def call(self, inputs):
        print("call function running")
        input_A, input_B = inputs
        hidden1 = self.hidden1(input_B)
        hidden2 = self.hidden2(hidden1)
        concat = keras.layers.concatenate([input_A, hidden2])
        return self.main_output(concat), self.aux_output(hidden2)


def load():
    """((x_train, y_train), (x_val, y_val), (x_test, y_test)), standardized; targets in units of 100,000 dollars."""
    (x, y), (x_test, y_test) = california_housing.load_data(test_split=0.25)
    x, x_test = california_housing.to_averages(x), california_housing.to_averages(x_test)
    x_train, x_val, y_train, y_val = x[:11610], x[11610:], y[:11610, None] / 1e5, y[11610:, None] / 1e5
    scaler = keras.layers.Normalization()
    scaler.adapt(x_train)
    return (np.asarray(scaler(x_train)), y_train), (np.asarray(scaler(x_val)), y_val), (np.asarray(scaler(x_test)), y_test[:, None] / 1e5)


def wide_and_deep(x):
    """The features in two groups: five for the wide path, six for the deep one."""
    return [x[:, :5], x[:, 2:]]


def main():
    keras.utils.set_random_seed(42)
    (x_train, y_train), (x_val, y_val), (x_test, y_test) = load()

    model = WideAndDeepModel()
    model.compile(loss=["mse", "mse"], loss_weights=[0.9, 0.1], optimizer="sgd")
    model.fit(
        wide_and_deep(x_train),
        [y_train, y_train],
        epochs=20,
        validation_data=(wide_and_deep(x_val), [y_val, y_val]),
    )
    print()
    model.summary()
    print()
    model.explain()
    print()
    main_output, _ = model.predict(wide_and_deep(x_val), verbose=0)
    rmse = np.sqrt(np.mean((main_output - y_val) ** 2)) * 1e5
    print(f"Validation RMSE: {rmse:,.0f} dollars (the mean price is {y_val.mean() * 1e5:,.0f} dollars)")
    page = pathlib.Path("build", "wide_and_deep.html")
    page.parent.mkdir(exist_ok=True)
    model.profile(wide_and_deep(x_train), [y_train, y_train])  # measures where the time of a step goes; the page has the tables
    print(f"Open {model.report(page)} in a browser: the story of `call`, the graph, curves, times.")


if __name__ == "__main__":
    main()
