"""Are the brackets balanced? A classifier of sequences of several lengths, whose padding changes nothing.

`Embedding(mask_zero=True)` makes a mask; the recurrent layer takes it, and skips what is padding.
"""

import numpy as np

import pellucid as keras
from pellucid import layers

TOKENS = {"(": 1, ")": 2}  # 0 is padding


class Balanced(keras.Model):
    def __init__(self, units=24):
        super().__init__()
        self.embedding = layers.Embedding(3, 8, mask_zero=True)
        self.reader = layers.Bidirectional(layers.GRU(units))
        self.logit = layers.Dense(1)

    def call(self, tokens):
        return self.logit(self.reader(self.embedding(tokens)))


def brackets(rng, pairs):
    """Balanced brackets: each next one opens, or closes what is open, by chance."""
    text, opened = "", 0
    while len(text) < 2 * pairs:
        can_open, can_close = opened + len(text) < 2 * pairs, opened > 0
        text += "(" if can_open and (not can_close or rng.random() < 0.5) else ")"
        opened += 1 if text[-1] == "(" else -1
    return text


def make(rng, rows, longest):
    """(texts, whether each is balanced): in every second one two brackets have changed places."""
    texts = []
    for row in range(rows):
        text = list(brackets(rng, rng.integers(2, longest // 2 + 1)))
        if row % 2:
            i, j = rng.choice(len(text), 2, replace=False)
            text[i], text[j] = text[j], text[i]
        texts.append("".join(text))
    return texts, np.array([[is_balanced(text)] for text in texts], "float32")


def is_balanced(text):
    depths = np.cumsum([1 if c == "(" else -1 for c in text])
    return depths[-1] == 0 and depths.min() >= 0


def padded(texts, length):
    return np.array([[TOKENS[c] for c in text] + [0] * (length - len(text)) for text in texts], "int32")


def main(rows=4096, epochs=10, longest=16):
    keras.utils.set_random_seed(0)
    texts, labels = make(np.random.default_rng(0), rows, longest)
    others, truth = make(np.random.default_rng(1), 512, longest)

    model = Balanced()
    model.compile(keras.optimizers.Adam(5e-3), keras.losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
    data = padded(others, longest), truth
    history = model.fit(padded(texts, longest), labels, batch_size=64, epochs=epochs, validation_data=data, verbose=2).history

    some = others[:6]
    short, long = model.predict(padded(some, longest), verbose=0), model.predict(padded(some, 2 * longest), verbose=0)
    for text, a, b in zip(some, short[:, 0], long[:, 0]):
        print(f"{text:<{longest}}  padded to {longest}: {a:+.5f}   to {2 * longest}: {b:+.5f}")
    difference = float(np.abs(short - long).max())
    print(f"Padding changes predictions by {difference:.6f} at most.")
    model.explain()  # `call` ran for each length of its inputs
    return history, difference


if __name__ == "__main__":
    main()
