"""Recurrence, and layers around layers."""

import dataclasses

import numpy as np

from tests.layers.case import Case, normal

SERIES = normal(3, 5, 4)
STATE = normal(3, 2)
MASK = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1]], bool)
MASKED = {"mask": MASK}
WHOLE = {"return_sequences": True, "return_state": True}

TABLE = {
    "SimpleRNN": Case(lambda k: k.layers.SimpleRNN(2), SERIES, mask=MASK),
    "SimpleRNN, masked": Case(lambda k: k.layers.SimpleRNN(2, activation="relu", use_bias=False, **WHOLE), SERIES, MASKED, mask=MASK),
    "SimpleRNN, dropout": Case(lambda k: k.layers.SimpleRNN(2, dropout=0.5, recurrent_dropout=0.5), SERIES, draws=True),
    "GRU": Case(lambda k: k.layers.GRU(2), SERIES, mask=MASK),
    "GRU, masked": Case(lambda k: k.layers.GRU(2, **WHOLE), SERIES, MASKED, mask=MASK),
    "GRU, backwards": Case(lambda k: k.layers.GRU(2, go_backwards=True, return_sequences=True), SERIES, MASKED),
    "GRU, reset before": Case(lambda k: k.layers.GRU(2, reset_after=False, activation="relu"), SERIES),
    "GRU, no bias": Case(lambda k: k.layers.GRU(2, use_bias=False, zero_output_for_mask=True, return_sequences=True), SERIES, MASKED),
    "GRU, unrolled": Case(lambda k: k.layers.GRU(2, unroll=True, return_sequences=True), SERIES, MASKED),
    "GRU, dropout": Case(lambda k: k.layers.GRU(2, dropout=0.5, recurrent_dropout=0.5, seed=1), SERIES, draws=True),
    "GRU, dropout of the inputs": Case(lambda k: k.layers.GRU(2, dropout=0.5, reset_after=False), SERIES, draws=True),
    "LSTM": Case(lambda k: k.layers.LSTM(2), SERIES, mask=MASK),
    "LSTM, masked": Case(lambda k: k.layers.LSTM(2, unit_forget_bias=False, **WHOLE), SERIES, MASKED, mask=MASK),
    "LSTM, backwards": Case(
        lambda k: k.layers.LSTM(2, go_backwards=True, kernel_regularizer=k.regularizers.L2(0.5), recurrent_constraint="non_neg"),
        SERIES,
        MASKED,
    ),
    "LSTM, dropout": Case(lambda k: k.layers.LSTM(2, dropout=0.5, recurrent_dropout=0.5), SERIES, draws=True),
    "SimpleRNNCell": Case(lambda k: k.layers.SimpleRNNCell(2), SERIES[:, 0], {"states": STATE}),
    "GRUCell": Case(lambda k: k.layers.GRUCell(2), SERIES[:, 0], {"states": [STATE]}),
    "GRUCell, reset before": Case(lambda k: k.layers.GRUCell(2, reset_after=False, use_bias=False), SERIES[:, 0], {"states": [STATE]}),
    "LSTMCell": Case(lambda k: k.layers.LSTMCell(2), SERIES[:, 0], {"states": [STATE, STATE / 2]}),
    "StackedRNNCells": Case(
        lambda k: k.layers.StackedRNNCells([k.layers.GRUCell(2), k.layers.LSTMCell(2)]), SERIES[:, 0], {"states": [[STATE], [STATE, STATE]]}
    ),
    "RNN": Case(lambda k: k.layers.RNN(k.layers.GRUCell(2), **WHOLE), SERIES, MASKED, mask=MASK),
    "RNN of stacked cells": Case(
        lambda k: k.layers.RNN([k.layers.LSTMCell(3), k.layers.SimpleRNNCell(2), k.layers.GRUCell(2)], go_backwards=True, **WHOLE),
        SERIES,
        MASKED,
        mask=MASK,
    ),
    "ConvLSTM1D": Case(lambda k: k.layers.ConvLSTM1D(2, 3, **WHOLE), normal(2, 3, 5, 2), mask=MASK[:2, :3]),
    "ConvLSTM2D": Case(lambda k: k.layers.ConvLSTM2D(2, 2, strides=2, go_backwards=True), normal(2, 3, 5, 4, 2)),
    "ConvLSTM2D, same": Case(
        lambda k: k.layers.ConvLSTM2D(2, (3, 2), padding="same", use_bias=False, return_sequences=True), normal(2, 3, 4, 3, 1)
    ),
    "ConvLSTM2D, dropout": Case(lambda k: k.layers.ConvLSTM2D(2, 2, dropout=0.5, recurrent_dropout=0.5), normal(2, 3, 4, 3, 1), draws=True),
    "ConvLSTM3D": Case(lambda k: k.layers.ConvLSTM3D(2, 2, dilation_rate=2), normal(1, 2, 4, 3, 3, 1)),
    "Bidirectional": Case(lambda k: k.layers.Bidirectional(k.layers.GRU(2)), SERIES, MASKED, mask=MASK),
    "Bidirectional, sequences": Case(
        lambda k: k.layers.Bidirectional(k.layers.LSTM(2, **WHOLE), merge_mode="sum"), SERIES, MASKED, mask=MASK
    ),
    "Bidirectional, a backward layer": Case(
        lambda k: k.layers.Bidirectional(
            k.layers.GRU(2, return_sequences=True),
            merge_mode=None,
            backward_layer=k.layers.SimpleRNN(3, return_sequences=True, go_backwards=True),
        ),
        SERIES,
        MASKED,
    ),
    "Bidirectional, mean": Case(lambda k: k.layers.Bidirectional(k.layers.SimpleRNN(2), merge_mode="ave"), SERIES),
    "Bidirectional, product": Case(
        lambda k: k.layers.Bidirectional(k.layers.SimpleRNN(2, return_sequences=True), merge_mode="mul"), SERIES
    ),
    "TimeDistributed": Case(lambda k: k.layers.TimeDistributed(k.layers.Dense(2, activation="relu")), SERIES, MASKED, mask=MASK),
    "TimeDistributed, statistics": Case(lambda k: k.layers.TimeDistributed(k.layers.BatchNormalization()), SERIES),
    "TimeDistributed, recurrent": Case(
        lambda k: k.layers.TimeDistributed(k.layers.GRU(2)), normal(2, 3, 4, 2), {"mask": normal(2, 3, 4) > 0}
    ),
}

OFTEN = (
    *("SimpleRNN", "GRU, masked", "LSTM, masked", "SimpleRNNCell", "GRUCell", "LSTMCell", "StackedRNNCells", "RNN"),
    *("Bidirectional, sequences", "TimeDistributed", "TimeDistributed, statistics", "ConvLSTM1D"),
)
CASES = {name: case if name in OFTEN else dataclasses.replace(case, slow=True) for name, case in TABLE.items()}
