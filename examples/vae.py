"""A variational autoencoder on California housing: `add_loss` in a layer, and the built-in training step.

Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014.
"""

import pellucid as keras
from pellucid import layers, ops
from pellucid.datasets import california_housing


class Sampling(layers.Layer):
    """Draws from the posterior, and adds its divergence from the prior to the loss."""

    def __init__(self, weight, **kwargs):
        super().__init__(**kwargs)
        self.weight = weight
        self.seed = keras.random.SeedGenerator()

    def call(self, mean, log_variance):
        divergence = -0.5 * ops.sum(1 + log_variance - ops.square(mean) - ops.exp(log_variance), axis=-1)
        self.add_loss(self.weight * ops.mean(divergence))
        return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self.seed)


class VAE(keras.Model):
    def __init__(self, features, latent=3, units=32, weight=0.02):
        super().__init__()
        self.encoder = layers.Dense(units, activation="tanh")
        self.mean, self.log_variance = layers.Dense(latent), layers.Dense(latent)
        self.sampling = Sampling(weight)
        self.decoder = keras.Sequential([layers.Dense(units, activation="tanh"), layers.Dense(features)])

    def call(self, x):
        hidden = self.encoder(x)
        z = self.sampling(self.mean(hidden), self.log_variance(hidden))
        return self.decoder(z)


def main(rows=16_512, epochs=20):
    keras.utils.set_random_seed(1)
    (x, _), _ = california_housing.load_data()
    x = california_housing.to_averages(x)[:rows]
    scaler = layers.Normalization()
    scaler.adapt(x)
    x = scaler(x).__array__().clip(-3, 3)
    model = VAE(features=x.shape[1])
    model.compile(optimizer=keras.optimizers.Adam(0.003), loss="mse")
    history = model.fit(x, x, batch_size=64, epochs=epochs, validation_split=0.1, verbose=2)
    model.explain()

    print(
        "three new districts, from draws of the prior (features as multiples of their standard deviation):"
    )  # the decoder is a model, too
    print(model.decoder.predict(keras.random.normal((3, 3), seed=1).__array__(), verbose=0).round(2))
    return history.history


if __name__ == "__main__":
    main()
