"""A generative adversarial network learns where Californians live: a `train_step` with two models and two optimizers.

Goodfellow et al., "Generative adversarial nets", NeurIPS 2014, with the least-squares losses of Mao et al., ICCV 2017.
"""

import numpy as np

import pellucid as keras
from pellucid import layers, ops
from pellucid.datasets import california_housing

NOISE = 8


def net(inputs, outputs, units=64):
    hidden = [layers.Dense(units, activation="leaky_relu") for _ in range(2)]
    return keras.Sequential([keras.Input((inputs,)), *hidden, layers.Dense(outputs)])


class GAN(keras.Model):
    def __init__(self):
        super().__init__()
        self.generator, self.judge = net(NOISE, 2), net(2, 1)
        self.seed = keras.random.SeedGenerator(1)
        self.judge_loss, self.generator_loss = keras.metrics.Mean(name="judge"), keras.metrics.Mean(name="generator")

    def compile(self, judge_optimizer, generator_optimizer):
        super().compile()
        self.judge_optimizer, self.generator_optimizer = judge_optimizer, generator_optimizer

    @property
    def metrics(self):
        return [self.judge_loss, self.generator_loss]

    def train_step(self, real):
        rows = ops.shape(real)[0]
        noise = keras.random.normal((rows, NOISE), seed=self.seed)

        def loss_of_judge():
            fake = self.judge(self.generator(noise))
            return ops.mean(ops.square(fake)) + ops.mean(ops.square(self.judge(real) - 1))

        def loss_of_generator():
            return ops.mean(ops.square(self.judge(self.generator(noise)) - 1))

        weights = self.judge.trainable_variables
        loss, grads = keras.value_and_grad(loss_of_judge, weights)()
        self.judge_optimizer.apply(grads, weights)
        self.judge_loss.update_state(loss)

        weights = self.generator.trainable_variables
        loss, grads = keras.value_and_grad(loss_of_generator, weights)()
        self.generator_optimizer.apply(grads, weights)
        self.generator_loss.update_state(loss)
        return {m.name: m.result() for m in self.metrics}


def main(rows=16_512, epochs=60):
    keras.utils.set_random_seed(1)
    (x, _), _ = california_housing.load_data()
    places = x[:rows, 1::-1]  # latitude and longitude
    center, scale = places.mean(0), places.std(0)
    model = GAN()
    model.compile(keras.optimizers.Adam(2e-3, beta_1=0.5), keras.optimizers.Adam(1e-3, beta_1=0.5))
    history = model.fit(((places - center) / scale).astype("float32"), batch_size=128, epochs=epochs, verbose=2)
    model.explain()

    noise = keras.random.normal((2000, NOISE), seed=2).__array__()
    print("true and generated places on a map:")
    print(beside(chart(places), chart(model.generator.predict(noise, verbose=0) * scale + center)))
    return history.history


def chart(places, shape=(20, 36)):
    """A map of characters: the more people, the darker."""
    counts, _, _ = np.histogram2d(-places[:, 0], places[:, 1], bins=shape, range=[(-42, -32.5), (-124.4, -114.3)])
    shades = np.minimum(np.ceil(np.log2(1 + counts / counts.max() * 100)), 5).astype(int)
    return ["".join(" .:*#@"[shade] for shade in row) for row in shades]


def beside(left, right):
    return "\n".join(f"{a} | {b}".rstrip() for a, b in zip(left, right))


if __name__ == "__main__":
    main()
