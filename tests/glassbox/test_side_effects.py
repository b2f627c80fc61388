"""What ``call`` does beside computing: prints, attributes, lists, globals, draws, clocks. Truths are written by hand."""

from __future__ import annotations

import logging
import sys

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


@pytest.mark.parametrize("truth", MODELS.graphs())
def test_the_graph_is_what_a_reader_of_the_model_expects(truth):
    check_graph(truth)


@pytest.mark.parametrize("truth", MODELS.uses())
def test_call_runs_as_often_as_a_reader_expects(truth):
    check_use(truth)
