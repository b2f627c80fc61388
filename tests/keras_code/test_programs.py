"""Programs as users of Keras write them run here as they do there, from the same weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import pellucid
from tests.cases import some_slow
from tests.keras_code.programs import PROGRAMS


def run(k, program, weights=None):
    model, batches, calls = program(k)
    if weights is not None:
        model.set_weights(weights)
    weights = [np.array(w) for w in model.get_weights()]
    lines: list[str] = []
    model.summary(print_fn=lambda text, **_: lines.append(text))
    logs = [model.train_on_batch(x, y, return_dict=True) for x, y in batches]
    outputs = model.predict_on_batch(batches[0][0])
    return model, {"logs": logs, "outputs": outputs, "parameters": model.count_params()}, weights, "\n".join(lines), calls


@pytest.mark.filterwarnings(
    "ignore:.*does not support masking:UserWarning", "ignore:.*int64 requested:UserWarning", "ignore:__array__:DeprecationWarning:keras"
)
@pytest.mark.parametrize("program", some_slow(PROGRAMS, []))
def test_a_program_runs_as_in_keras(program):
    _, expected, weights, _, _ = run(keras, PROGRAMS[program])
    model, found, _, summary, calls = run(pellucid, PROGRAMS[program], weights)
    keras.tree.map_structure(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), expected, found)
    assert model.ledger.call_count == calls, str(model.ledger)
    assert f"Total params: {expected['parameters']:,} " in summary
