"""Many threads and one model: one capture, right results, and nobody sees another's frame."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import pytest

from pellucid import layers
from pellucid.core import frame
from pellucid.errors import SideEffectWarning
from tests.graph.helpers import Net, normal, spec

THREADS = 8


def together(function, count=THREADS):
    """Results of ``function(i)`` in threads that begin at one moment."""
    barrier = threading.Barrier(count)

    def run(i):
        barrier.wait()
        return function(i)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.filterwarnings("ignore:closure variable `runs`:pellucid.SideEffectWarning")
def test_predict_from_many_threads_before_anything_is_captured_captures_once():
    runs = []

    def call(m, x, t):
        runs.append(threading.get_ident())
        return m.out(m.hidden(x))

    net = Net(call, hidden=layers.Dense(5, activation="relu"), out=layers.Dense(2))
    x = normal(11, 3)
    results = together(lambda i: net.predict(x, batch_size=4, verbose=0))
    assert len(runs) == net.ledger.call_count == 1
    assert len(net.weights) == 4
    kernel, bias, out_kernel, out_bias = net.get_weights()
    expected = np.maximum(x @ kernel + bias, 0) @ out_kernel + out_bias
    for result in results:
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_eager_calls_from_many_threads_make_each_weight_once():
    drawn = []

    def slow(shape, dtype):
        drawn.append(shape)
        time.sleep(0.1)
        return np.random.default_rng(len(drawn)).normal(size=shape)

    dense = layers.Dense(2, kernel_initializer=slow)
    x = normal(4, 3)
    results = together(lambda i: np.asarray(dense(x)))
    assert len(dense.weights) == 2 and len(drawn) == 1
    for result in results:
        np.testing.assert_allclose(result, x @ dense.kernel.numpy() + dense.bias.numpy(), rtol=1e-5, atol=1e-6)


def test_captures_of_different_models_at_once_do_not_mix():
    nets = [Net(lambda m, x, t: m.out(x) * m.alpha, out=layers.Dense(2), alpha=float(i)) for i in range(THREADS)]
    together(lambda i: nets[i].capture(spec(4, 3)))
    x = normal(4, 3)
    for i, net in enumerate(nets):
        assert net.graph.reads == net.weights
        np.testing.assert_allclose(net.graph.run(jnp.asarray(x), False)[0], (x @ net.out.kernel.numpy()) * i, rtol=1e-5, atol=1e-6)
        net.alpha = -1.0
        assert not net._machine.captures.is_current(net.graph)


def test_another_threads_attributes_and_prints_are_not_told_as_effects_of_the_capture():
    inside, done = threading.Event(), threading.Event()

    def call(m, x, t):
        inside.set()
        assert done.wait(10)
        return x * m.alpha

    net = Net(call, alpha=1.0)

    def meanwhile():
        assert inside.wait(10)
        net.unrelated = 1
        print("from another thread")
        assert net.alpha == 1.0
        done.set()

    thread = threading.Thread(target=meanwhile)
    thread.start()
    net.capture(spec(4, 3))  # a SideEffectWarning would be an error
    thread.join()
    assert net.ledger[0].effects == ()


def test_an_eager_call_in_another_thread_sees_no_frame_of_a_capture():
    inside, done = threading.Event(), threading.Event()
    seen = []

    def call(m, x, t):
        inside.set()
        assert done.wait(10)
        return x * m.w

    net = Net(call, w=normal(3))

    def meanwhile():
        assert inside.wait(10)
        seen.append((frame.active_frame(), net.w.numpy(), np.asarray(layers.Dense(2)(np.ones((1, 3)))).shape))
        net.w.assign(np.zeros(3))
        done.set()

    thread = threading.Thread(target=meanwhile)
    thread.start()
    graph = net.capture(spec(4, 3))
    thread.join()
    ((active, value, shape),) = seen
    assert active is None and shape == (1, 2)
    np.testing.assert_array_equal(value, normal(3))
    np.testing.assert_array_equal(graph.run(jnp.ones((2, 3)), False)[0], np.zeros((2, 3)))


def test_effects_of_the_capturing_thread_are_told_from_a_thread_too():
    def call(m, x, t):
        m.seen = 1
        return x

    net = Net(call)
    with pytest.warns(SideEffectWarning, match="self.seen"), ThreadPoolExecutor(1) as pool:
        pool.submit(net.capture, spec(4, 3)).result()
    assert len(net.ledger[0].effects) == 1
