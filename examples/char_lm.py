"""A small causal transformer writes like Python's reference: `MultiHeadAttention`, one capture, and a sample from the model.

The text is that of `help("topics")`, which every Python brings along (pydoc_data.topics; © Python Software Foundation).
Radford et al., "Improving language understanding by generative pre-training", 2018.
"""

from math import log
from pydoc_data.topics import topics

import numpy as np

import pellucid as keras
from pellucid import layers, ops

CONTEXT = 64  # characters that the model sees


class Block(layers.Layer):
    def __init__(self, width, heads, **kwargs):
        super().__init__(**kwargs)
        self.norm1, self.norm2 = layers.LayerNormalization(), layers.LayerNormalization()
        self.attention = layers.MultiHeadAttention(heads, width // heads)
        self.up, self.down = layers.Dense(4 * width, activation="gelu"), layers.Dense(width)

    def call(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, use_causal_mask=True)
        return x + self.down(self.up(self.norm2(x)))


class Writer(keras.Model):
    """Logits of the next character, for each character of a text."""

    def __init__(self, characters, width=96, heads=4, blocks=2):
        super().__init__()
        self.characters, self.positions = layers.Embedding(characters, width), layers.Embedding(CONTEXT, width)
        self.blocks = [Block(width, heads) for _ in range(blocks)]
        self.norm, self.logits = layers.LayerNormalization(), layers.Dense(characters)

    def call(self, ids):
        x = self.characters(ids) + self.positions(ops.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.logits(self.norm(x))


def write(model, start, alphabet, length, temperature=0.7):
    """A text that goes on from `start`, as long as the context: each character is drawn from the model's distribution."""
    random, ids = np.random.default_rng(0), [alphabet.index(c) for c in start]
    for _ in range(length):
        logits = model.predict_on_batch(np.array([ids[-CONTEXT:]]))[0, -1] / temperature
        chances = np.exp(logits - logits.max())
        ids.append(int(random.choice(len(alphabet), p=chances / chances.sum())))
    return "".join(alphabet[i] for i in ids[len(start) :])


def main(steps=600, batch_size=32, length=300):
    keras.utils.set_random_seed(1)
    lines = [line for name in sorted(topics) for line in topics[name].splitlines() if line.isascii() and "|" not in line]
    text = "\n".join(lines)[:300_000]
    alphabet = sorted(set(text))
    ids = np.searchsorted(alphabet, list(text)).astype("int32")
    windows = np.lib.stride_tricks.sliding_window_view(ids, CONTEXT + 1)
    train = windows[np.random.default_rng(1).integers(0, len(windows) * 9 // 10, steps * batch_size)]
    held_out = windows[len(windows) * 9 // 10 + CONTEXT :: CONTEXT][:256]

    model = Writer(len(alphabet))
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=3e-3, warmup_steps=max(steps // 20, 1))
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(train[:, :-1], train[:, 1:], batch_size=batch_size, verbose=2)
    loss = model.evaluate(held_out[:, :-1], held_out[:, 1:], batch_size=batch_size, verbose=0)
    model.explain()

    print(f"held-out text: loss {loss:.3f}, {loss / log(2):.2f} bits per character (equal chances: {log(len(alphabet), 2):.2f})")
    start = "".join(alphabet[i] for i in held_out[0, :CONTEXT])
    print(f"after {start!r} it writes:\n{write(model, start, alphabet, length)}")
    return {"loss": history.history["loss"], "held_out": loss, "equal_chances": log(len(alphabet))}


if __name__ == "__main__":
    main()
