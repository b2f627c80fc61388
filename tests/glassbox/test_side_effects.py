"""What ``call`` does beside computing: prints, attributes, lists, globals, draws, clocks. Truths are written by hand."""

from __future__ import annotations

import dataclasses
import logging
import os
import random
import sys
import time

import numpy as np
import pytest

import pellucid
from pellucid import Model, layers, ops
from tests.glassbox.checker import Truths, check_graph, check_use

MODELS = Truths()

PLAIN = """
    input     Input    (None, 3)
    out       Dense    (None, 2)    <- input
    output    Output   (None, 2)    <- out
"""


class WithOneLayer(Model):
    def __init__(self):
        super().__init__()
        self.out = layers.Dense(2)


@MODELS.about(inputs=(None, 3), graph=PLAIN, effects=[("print", 'print("call", x.shape[1])')], fit="fast")
class Prints(WithOneLayer):
    def call(self, x):
        print("call", x.shape[1])
        return self.out(x)


def debug(text):
    sys.stdout.write(text + "\n")  # a line of the user's, too


class Talkative(layers.Layer):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, x):
        for i in range(2):
            print("inside", i)
        debug("done")
        return self.dense(x)


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input             Input       (None, 3)
        talkative         Talkative   (None, 2)    <- input
        talkative/dense   Dense       (None, 2)    <- input
        output            Output      (None, 2)    <- talkative
    """,
    effects=[("print", 'print("inside", i)'), ("print", 'sys.stdout.write(text + "\\n")  # a line of the user\'s, too')],
)
class PrintsInsideALayer(Model):
    def __init__(self):
        super().__init__()
        self.talkative = Talkative()

    def call(self, x):
        return self.talkative(x)


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input     Input    (None, 3)
        print     print                           -- it gives nothing, and runs on every step
        out       Dense    (None, 2)    <- input
        output    Output   (None, 2)    <- out
    """,
)
class PrintsAsOneShould(WithOneLayer):
    def call(self, x):
        pellucid.print("call", x.shape[1])
        return self.out(x)


@MODELS.about(
    inputs=(None, 3),
    graph=PLAIN,
    effects=[("attribute", "self.calls += 1"), ("attribute", "self.last_input = x")],
    fit="fast",
)
class CountsAndKeeps(WithOneLayer):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def call(self, x):
        self.calls += 1
        self.last_input = x
        return self.out(x)


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input       Input      (None, 3)
        out         Dense      (None, 2)    <- input
        multiply    multiply   (None, 2)    <- out
        stack       stack      (None, 2, 2)    <- out, multiply
        output      Output     (None, 2, 2)    <- stack
    """,
    effects=[],
)
class OnlyLocals(WithOneLayer):
    def __init__(self):
        super().__init__()
        self.factors = [1.0, 2.0]
        self.logger = logging.getLogger("quiet")

    def call(self, x):
        found = {"values": [self.out(x)]}
        found["values"].append(found["values"][0] * self.factors[1])
        self.logger.debug("not shown")
        return ops.stack(found["values"], axis=1)


RUNS = 0
SEEN = {"shapes": []}


@dataclasses.dataclass
class Counter:
    count: int = 0


@MODELS.about(
    inputs=(None, 3),
    graph=PLAIN,
    effects=[
        ("change", "self.log.append(1)"),
        ("change", 'self.settings["seen"] = True'),
        ("change", "self.counter.count += 1"),
    ],
)
class ChangesWhatItHolds(WithOneLayer):
    def __init__(self):
        super().__init__()
        self.log, self.settings, self.counter = [], {}, Counter()

    def call(self, x):
        self.log.append(1)
        self.settings["seen"] = True
        self.counter.count += 1
        return self.out(x)


@MODELS.about(
    inputs=(None, 3),
    graph=PLAIN,
    effects=[("kept", "self.history.append(y)"), ("kept", 'self.last["x"] = x')],
)
class KeepsTracedValues(WithOneLayer):
    def __init__(self):
        super().__init__()
        self.history, self.last = [], {}

    def call(self, x):
        self.last["x"] = x
        y = self.out(x)
        self.history.append(y)
        return y


@MODELS.about(
    inputs=(None, 3),
    graph=PLAIN,
    effects=[("change", "RUNS += 1"), ("change", 'SEEN["shapes"].append(x.shape[1])')],
)
class WritesGlobals(WithOneLayer):
    def call(self, x):
        global RUNS
        RUNS += 1
        SEEN["shapes"].append(x.shape[1])
        return self.out(x)


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input       Input      (None, 3)
        out         Dense      (None, 2)    <- input
        multiply    multiply   (None, 2)    <- out          -- a number drawn by NumPy is a constant
        add         add        (None, 2)    <- multiply
        subtract    subtract   (None, 2)    <- add
        output      Output     (None, 2)    <- subtract
    """,
    effects=[
        ("random", "y = self.out(x) * np.random.rand()"),
        ("random", "y = y + random.random()"),
        ("random", "return y - self.generator.normal()"),
    ],
)
class Draws(WithOneLayer):
    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng(0)

    def call(self, x):
        y = self.out(x) * np.random.rand()
        y = y + random.random()
        return y - self.generator.normal()


def log_shape(x):
    logging.getLogger("glassbox").warning("shape %s", x.shape[1:])


@MODELS.about(
    inputs=(None, 3),
    graph=PLAIN,
    effects=[
        ("clock", "started = time.perf_counter()"),
        ("file", 'with open(os.devnull, "w") as file:'),
        ("file", 'file.write("called")'),
        ("logging", 'logging.getLogger("glassbox").warning("shape %s", x.shape[1:])'),
    ],
)
class UsesTheClockAFileAndALog(WithOneLayer):
    def call(self, x):
        started = time.perf_counter()
        with open(os.devnull, "w") as file:
            file.write("called")
        log_shape(x)
        y = self.out(x)
        assert started > 0
        return y


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input      Input    (None, 3)
        out        Dense    (None, 2)    <- input
        dense_1    Dense    (None, 2)    <- out          -- the second Dense of this process
        output     Output   (None, 2)    <- dense_1
    """,
    effects=[("layer", "return layers.Dense(2)(self.out(x))")],
    fit="no",
)
class MakesALayerInCall(WithOneLayer):
    def call(self, x):
        return layers.Dense(2)(self.out(x))


@pytest.mark.parametrize("truth", MODELS.graphs())
def test_the_graph_is_what_a_reader_of_the_model_expects(truth):
    check_graph(truth)


@pytest.mark.parametrize("truth", MODELS.uses())
def test_call_runs_as_often_as_a_reader_expects(truth):
    check_use(truth)
