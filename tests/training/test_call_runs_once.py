"""`call` runs once, whatever is done with the model; what it prints, it prints once."""

import numpy as np
import pytest

import pellucid
from pellucid import ops
from pellucid.errors import SideEffectWarning
from pellucid.graph.ledger import Reason
from tests.training.twins import random_data, wide_and_deep


class Regularized(pellucid.Model):
    """Dropout and BatchNormalization differ between training and use: `call` runs once all the same."""

    def __init__(self, tally):
        super().__init__()
        self.tally = tally
        self.hidden = pellucid.layers.Dense(4)
        self.norm = pellucid.layers.BatchNormalization()
        self.drop = pellucid.layers.Dropout(0.5)
        self.out = pellucid.layers.Dense(1)

    def call(self, inputs, training=None):
        self.tally()
        return self.out(self.drop(self.norm(self.hidden(inputs), training=training), training=training))


class Plain(pellucid.Model):
    def __init__(self, on_call):
        super().__init__()
        self.on_call = on_call
        self.out = pellucid.layers.Dense(1)

    def call(self, inputs):
        self.on_call(inputs)
        return self.out(inputs)


def counter():
    def tally():
        tally.count += 1

    tally.count = 0
    return tally


def data(rows=50):
    x, y = random_data(0, (rows, 3), (rows, 1))
    return x, y


def test_call_runs_once_to_train_validate_evaluate_and_predict():
    x, y = data()
    tally = counter()
    model = Regularized(tally)
    model.compile(optimizer="sgd", loss="mse")
    with pytest.warns(pellucid.SideEffectWarning, match=r"`self.tally.count` changed from 0 to 1"):
        model.fit(x, y, epochs=2, batch_size=16, validation_data=(x[:9], y[:9]), verbose=0)
    assert tally.count == 1
    model.evaluate(x, y, verbose=0)
    model.predict(x[:7], verbose=0)
    model.train_on_batch(x[:5], y[:5])
    model.test_on_batch(x[:4], y[:4])
    model.predict_on_batch(x[:3])
    model.fit(x, y, verbose=0)
    assert tally.count == model.ledger.call_count == 1
    assert [run.kind for run in model.ledger] == ["capture"] and model.ledger[0].reason is Reason.FIRST


def test_compiling_again_does_not_run_call():
    x, y = data(32)
    tally = counter()
    model = Regularized(tally)
    with pytest.warns(pellucid.SideEffectWarning, match=r"`self.tally.count`"):
        model.build((None, 3))
    for optimizer, loss in (("sgd", "mse"), ("rmsprop", "mae")):
        model.compile(optimizer=optimizer, loss=loss)
        model.fit(x, y, verbose=0)
    assert tally.count == 1


def test_another_feature_shape_is_a_reason_to_run_again():
    class Sum(pellucid.Model):
        def call(self, inputs):
            return inputs.sum(axis=-1, keepdims=True)

    model = Sum()
    model.predict(np.ones((4, 3), "float32"), verbose=0)
    model.predict(np.ones((4, 5), "float32"), verbose=0)
    assert [run.reason for run in model.ledger] == [Reason.FIRST, Reason.INPUTS]
    assert model.ledger[1].sentence == "captured again because the input has 5 features, before 3"


def test_python_branch_on_training_is_one_more_run_with_its_line():
    class Branching(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.out = pellucid.layers.Dense(1)

        def call(self, inputs, training=None):
            y = self.out(inputs)
            if training:
                y = y * 2
            return y

    x, y = data(32)
    model = Branching()
    model.compile(optimizer=pellucid.optimizers.SGD(0.0), loss="mse")
    trained = model.fit(x, y, verbose=0).history["loss"][0]
    out = np.asarray(model.predict(x, verbose=0))
    np.testing.assert_allclose(trained, np.mean((2 * out - y) ** 2), rtol=1e-5)
    assert [run.reason for run in model.ledger] == [Reason.FIRST, Reason.TRAINING]
    assert "test_call_runs_once.py" in model.ledger[1].sentence


def test_print_in_call_prints_once_and_says_what_to_write(capsys):
    x, y = data()
    model = Plain(lambda inputs: print("call function running"))
    model.compile(optimizer="sgd", loss="mse")
    with pytest.warns(SideEffectWarning, match=r"pellucid\.print") as caught:
        model.fit(x, y, epochs=3, batch_size=16, validation_split=0.2, verbose=0)
    model.predict(x[:7], verbose=0)
    assert capsys.readouterr().out == "call function running\n"
    assert len(caught) == 1 and caught[0].filename == __file__


def test_run_eagerly_runs_call_on_every_step_and_the_ledger_counts_all_runs(capsys):
    x, y = data()
    model = Plain(lambda inputs: print("running on", inputs.shape[0]))
    model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
    model.fit(x, y, epochs=2, batch_size=16, verbose=0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-8:] == ["running on 16", "running on 16", "running on 16", "running on 2"] * 2
    assert len(lines) == model.ledger.call_count <= 9  # one more makes the weights


def test_run_eagerly_prints_in_python_on_every_step(capsys):
    x, y = data()
    model = Plain(lambda inputs: print("running on", inputs.shape[0]))
    model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
    model.evaluate(x, y, batch_size=25, verbose=0)
    capsys.readouterr()
    model.fit(x, y, epochs=2, batch_size=16, verbose=0)
    model.evaluate(x, y, batch_size=25, verbose=0)
    model.predict(x, batch_size=25, verbose=0)
    expected = ["running on 16", "running on 16", "running on 16", "running on 2"] * 2 + ["running on 25"] * 4
    assert capsys.readouterr().out.splitlines() == expected
    assert sum(run.count for run in model.ledger if run.reason is Reason.EAGER) == 2 + 8 + 2 + 2


@pytest.mark.parametrize("make", [lambda: Plain(lambda inputs: None), lambda: Regularized(lambda: None)], ids=["no state", "state"])
def test_running_eagerly_gives_the_numbers_of_the_compiled_steps(make):
    x, y = data(32)
    results = []
    for eagerly in (False, True):
        pellucid.utils.set_random_seed(3)
        model = make()
        model.compile(optimizer=pellucid.optimizers.SGD(0.05, momentum=0.9), loss="mse", run_eagerly=eagerly)
        losses = model.fit(x, y, batch_size=16, verbose=0).history["loss"]
        results.append((losses, model.get_weights()))
    (compiled, weights), (eager, eager_weights) = results
    np.testing.assert_allclose(compiled, eager, rtol=1e-5)
    for a, b in zip(weights, eager_weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_running_eagerly_python_may_ask_for_values():
    class Asks(Plain):
        def call(self, inputs):
            y = super().call(inputs)
            return y if float(inputs.sum()) > 0 else -y

    x, y = np.abs(data(8)[0]), data(8)[1]
    model = Asks(lambda inputs: None)
    model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"][0])
    assert [run.kind for run in model.ledger] == ["eager", "eager"]
    assert "made weights, which gradients need beforehand" in model.ledger[0].sentence and model.ledger.call_count == 2


def test_running_eagerly_weights_of_a_later_branch_are_trained_from_their_first_step():
    class Later(Plain):
        def __init__(self):
            super().__init__(lambda inputs: None)
            self.late = pellucid.layers.Dense(1, kernel_initializer="zeros")

        def call(self, inputs):
            return super().call(inputs) + (self.late(inputs) if float(inputs.sum()) > 0 else 0)

    x, y = np.abs(data(8)[0]), data(8)[1]
    model = Later()
    model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
    model.train_on_batch(-x, y)
    assert not model.late.built
    model.train_on_batch(x, y)
    assert np.abs(model.late.kernel.numpy()).max() > 0 and model.ledger.call_count == 4
    model.train_on_batch(x, y)
    assert model.ledger.call_count == 5


def test_running_eagerly_a_layer_that_is_never_called_costs_no_further_runs():
    model = Plain(lambda inputs: None)
    model.unused = pellucid.layers.Dense(3)
    model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
    model.fit(*data(8), batch_size=4, epochs=2, verbose=0)
    assert model.ledger.call_count == 1 + 4


@pytest.mark.parametrize("use", ["fit", "evaluate", "predict"])
def test_running_eagerly_a_call_that_raises_leaves_no_half_built_model(use):
    class Raises(Plain):
        def call(self, inputs):
            y = super().call(inputs)
            if inputs.shape[-1] == 4:
                raise RuntimeError("too wide")
            return y

    x, y = data(8)
    model = Raises(lambda inputs: None)
    model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
    arguments = (np.ones((8, 4), "float32"), *([y] if use != "predict" else []))
    with pytest.raises(RuntimeError, match="too wide"):
        getattr(model, use)(*arguments, verbose=0)
    assert not model.out.built and "raised RuntimeError" in model.ledger[0].sentence
    model.fit(x, y, verbose=0)
    assert model.out.kernel.shape == (3, 1)


@pytest.mark.parametrize("nan", [None, "raise"])
def test_running_eagerly_a_metric_that_raises_leaves_the_weights_as_they_were(nan):
    class Raises(pellucid.metrics.Mean):
        broken = False

        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(y_pred)
            if self.broken:
                raise RuntimeError("no metric")

    x, y = data(16)
    metric = Raises()
    model = Regularized(lambda: None)
    model.compile(optimizer=pellucid.optimizers.SGD(0.1, momentum=0.9), loss="mse", metrics=[metric], run_eagerly=True, nan=nan)
    model.fit(x, y, batch_size=8, verbose=0)
    model.reset_metrics()
    variables = [*model.variables, *model.optimizer.variables, *metric.variables]
    before = [v.numpy() for v in variables]
    metric.broken = True
    with pytest.raises(RuntimeError, match="no metric"):
        model.fit(x, y, batch_size=8, verbose=0)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.path)
    metric.broken = False
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"][0])


def test_running_eagerly_outputs_have_the_same_names():
    x, y = data(8)
    histories = []
    for eagerly in (False, True):
        model = wide_and_deep(pellucid)
        model.compile(optimizer="sgd", loss={"main": "mse", "aux": "mae"}, run_eagerly=eagerly)
        histories.append(list(model.fit([x, x], [y, y], verbose=0).history))
    assert histories[0] == histories[1] == ["loss", "main_loss", "aux_loss"]


# ---- Printing on every step ----


def printing_model(*values):
    """A model that prints the mean of its inputs on every step."""
    return Plain(lambda inputs: pellucid.print("mean", inputs.mean(), *values))


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_pellucid_print_prints_on_every_step_of_a_program(capsys, steps_per_execution):
    x, y = data(48)
    model = printing_model()
    model.compile(optimizer="sgd", loss="mse", steps_per_execution=steps_per_execution)
    model.fit(x, y, epochs=2, batch_size=8, shuffle=False, verbose=0)
    lines = capsys.readouterr().out.splitlines()
    assert model.ledger.call_count == 1
    means = [x[i : i + 8].mean() for i in range(0, 48, 8)] * 2
    assert [line.split()[0] for line in lines] == ["mean"] * 12
    np.testing.assert_allclose([float(line.split()[1]) for line in lines], means, rtol=1e-4, atol=1e-6)


def test_pellucid_print_prints_the_real_rows_of_a_smaller_last_batch_only(capsys):
    x, y = data(20)
    model = Plain(lambda inputs: pellucid.print(inputs[:, 0]))
    model.compile(optimizer="sgd", loss="mse")
    model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    printed = capsys.readouterr().out.replace("[", " ").replace("]", " ").split()
    np.testing.assert_allclose([float(p) for p in printed], x[:, 0], rtol=1e-4, atol=1e-6)


def test_pellucid_print_prints_in_predict_and_evaluate(capsys):
    x, y = data(12)
    model = printing_model()
    model.compile(optimizer="sgd", loss="mse")
    model.evaluate(x, y, batch_size=4, verbose=0)
    model.predict(x, batch_size=6, verbose=0)
    assert len(capsys.readouterr().out.splitlines()) == 3 + 2


def test_lines_of_one_step_keep_their_order(capsys):
    x, y = data(16)

    def on_call(inputs):
        slow = inputs @ np.ones((3, 400), "float32")
        for _ in range(3):
            slow = ops.tanh(slow @ slow.T @ slow)
        ops.print("first", slow.mean())
        ops.print("second")
        ops.print("third", inputs.mean())

    model = Plain(on_call)
    model.compile(optimizer="sgd", loss="mse")
    model.fit(x, y, batch_size=4, verbose=0)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["first", "second", "third"] * 4


def test_ops_print_takes_what_tf_print_takes(capsys):
    from pellucid import ops as tf

    tf.print("weights:", tf.array([1.0, 2.0]), 3, sep="|", end="!\n")
    tf.print({"a": np.arange(2)}, [None, "text"])
    assert capsys.readouterr().out == "weights:|[1. 2.]|3!\n{'a': array([0, 1])} [None, 'text']\n"


def test_print_shows_weights_and_the_mode(capsys):
    class Shows(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.out = pellucid.layers.Dense(1, use_bias=False, kernel_initializer="ones")

        def call(self, inputs, training=None):
            y = self.out(inputs)
            ops.print("training", training, "kernel", self.out.kernel)
            return y

    x, y = np.zeros((4, 1), "float32"), np.zeros((4, 1), "float32")
    model = Shows()
    model.compile(optimizer="sgd", loss="mse")
    model.fit(x, y, verbose=0)
    model.predict(x, verbose=0)
    assert capsys.readouterr().out == "training True kernel [[1.]]\ntraining False kernel [[1.]]\n"
    assert model.ledger.call_count == 1
