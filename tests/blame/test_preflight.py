"""model.preflight: what a step will cost, before the first one."""

import dataclasses

import jax
import numpy as np
import pytest

import pellucid
from pellucid import layers, ops, optimizers
from pellucid.graph.cost import cost
from tests.models.test_own_steps import adversaries


class Net(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = layers.Dense(20, activation="relu"), layers.Dense(4)

    def call(self, x):
        return self.out(self.hidden(x))


PARAMETERS = 6 * 20 + 20 + 20 * 4 + 4


def compiled(model, optimizer="sgd", loss="mse", **options):
    model.compile(optimizer, loss, **options)
    return model


def test_memory_of_a_training_step_is_that_of_its_arrays():
    found = compiled(Net(), "adam").preflight((None, 6), batch_size=16)
    assert found.training and found.batch_size == 16 and found.parameters == PARAMETERS
    assert (found.weights, found.gradients) == (4 * PARAMETERS, 4 * PARAMETERS)
    assert 0 < found.optimizer_state - 2 * 4 * PARAMETERS < 32  # two moments, and counters and the learning rate
    assert found.data == 4 * 16 * (6 + 4)
    assert found.activations >= 4 * 16 * 20  # the hidden layer is kept for the gradient
    assert found.total >= found.weights + found.optimizer_state + found.data + found.activations
    assert found.compile_seconds > 0


def test_work_of_the_forward_pass_and_of_a_step():
    found = compiled(Net(), "sgd").preflight((None, 6), batch_size=16)
    products = 2 * 16 * (6 * 20 + 20 * 4)
    others = 16 * (20 + 20 + 4)  # two biases and the relu
    assert found.forward_flops == products + others
    weights_and_hidden = 2 * 16 * (6 * 20 + 2 * 20 * 4)  # their gradients: of the inputs none is taken
    assert products + weights_and_hidden < found.flops < 1.5 * (products + weights_and_hidden)


def test_before_compile_it_is_a_step_of_prediction():
    found = Net().preflight((None, 6), batch_size=16)
    assert not found.training
    assert (found.gradients, found.optimizer_state) == (0, 0)
    assert found.flops == found.forward_flops
    assert found.data == 4 * 16 * 6


def test_the_largest_batch_is_where_the_memory_ends():
    model = compiled(Net())
    small, large = model.preflight((None, 6), batch_size=64), model.preflight((None, 6), batch_size=4096)
    a_row = (small.device_memory - small.total) / (small.largest_batch - 64)
    # on jax 0.10.2 XLA takes a fifth less for a row of a large batch than for one of a small batch
    np.testing.assert_allclose(small.total + (4096 - 64) * a_row, large.total, rtol=0.25)
    np.testing.assert_allclose(small.largest_batch, large.largest_batch, rtol=0.25)
    assert small.device_memory == pellucid.config.device_memory() > 2**28
    assert small.fits and not dataclasses.replace(small, total=2 * small.device_memory).fits


def test_call_runs_once_for_it_and_for_fit_and_no_weight_changes():
    model = compiled(Net())
    model.build((None, 6))
    before = model.get_weights()
    model.preflight(np.ones((3, 6)), batch_size=16, y=np.ones((3, 4)))
    for wanted, weight in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, wanted)
    assert model.optimizer.iterations.numpy() == 0
    model.fit(np.ones((40, 6)), np.ones((40, 4)), verbose=0)
    model.predict(np.ones((40, 6)), verbose=0)
    assert model.ledger.call_count == 1
    assert model.ledger[0].caller == "build"
    assert [p.batch_size for p in model.ledger.programs if "preflight" in p.reason] == [16, 32]


@pytest.mark.parametrize("given", [(None, 6), np.ones((3, 6)), jax.ShapeDtypeStruct((3, 6), "float32")], ids=["shape", "array", "spec"])
def test_shapes_arrays_and_specs_are_the_same(given):
    model = compiled(Net())
    found = model.preflight(given, batch_size=16)
    wanted = model.preflight((7, 6), batch_size=16)
    assert dataclasses.replace(found, compile_seconds=0) == dataclasses.replace(wanted, compile_seconds=0)
    assert len(model.ledger) == 1


def test_several_inputs_and_outputs():
    class Wide(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = layers.Dense(2), layers.Dense(3)

        def call(self, inputs):
            return {"a": self.a(inputs["x"]), "b": self.b(inputs["z"])}

    model = compiled(Wide(), loss={"a": "mse", "b": "mae"})
    shapes = {"x": (None, 5), "z": (None, 7)}
    found = model.preflight(shapes, batch_size=8, y={"a": (None, 2), "b": (None, 3)})
    assert found.data == 4 * 8 * (5 + 7 + 2 + 3)
    assert found.data == model.preflight(shapes, batch_size=8).data


def test_targets_of_a_sparse_loss_are_class_numbers():
    found = compiled(Net(), loss="sparse_categorical_crossentropy").preflight((None, 6), batch_size=16)
    assert found.data == 4 * 16 * (6 + 1)


def test_a_model_that_needs_its_batch_size_is_measured_at_it_alone():
    class Rows(Net):
        def call(self, x):
            return self.out(self.hidden(x)) * len(list(range(x.shape[0])))

    model = compiled(Rows())
    found = model.preflight((None, 6), batch_size=16)
    assert found.largest_batch > 16 and found.activations > 0
    assert [p.batch_size for p in model.ledger.programs] == [16]


def test_what_is_checked_needs_more():
    plain, checked = compiled(Net(), "adam").preflight((None, 6)), compiled(Net(), "adam", nan="raise").preflight((None, 6))
    assert checked.total > plain.total + 2 * plain.weights  # the weights and moments before a step are kept


def test_the_text_and_the_data():
    found = compiled(Net()).preflight((None, 6), batch_size=16)
    text = str(found)
    for part in ("Net: a step of training with 16 rows on", "weights", f"{PARAMETERS:,} parameters", "largest batch", "compiled in"):
        assert part in text
    assert "too much" not in text
    assert "too much" in str(dataclasses.replace(found, total=2 * found.device_memory))
    assert "do not fit" in str(dataclasses.replace(found, largest_batch=0))
    assert found.as_dict()["weights"] == found.weights


def test_estimates_are_not_told_to_the_last_digit():
    before = dataclasses.replace(compiled(Net()).preflight((None, 6)), largest_batch=57_707_873, total=100, device_memory=10**9)
    assert "about 57,700,000 rows" in str(before) and "less than 0.01 % of" in str(before)
    assert "about 57 rows" in str(dataclasses.replace(before, largest_batch=57))


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True, "32"])
def test_a_batch_size_that_is_none_is_refused(batch_size):
    with pytest.raises(ValueError, match="preflight: batch_size=.*; expected a positive whole number"):
        Net().preflight((None, 6), batch_size)


def test_a_scalar_is_refused():
    with pytest.raises(ValueError, match="preflight: x holds single numbers only; expected arrays with the rows first"):
        Net().preflight(np.float32(3))


def test_targets_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(16, 5\).*\(16, 4\)"):
        compiled(Net()).preflight((None, 6), batch_size=16, y=(None, 5))


def step_of_fit(model):
    """The program of training that `fit` compiled, as JAX equations."""
    (program,) = [p for key, p in model._machine._programs.items() if key[0] == "train"]
    return program.step.jaxpr


def test_a_gan_is_measured_by_its_own_step_which_fit_then_uses():
    model = adversaries()
    model.compile(optimizers.Adam(0.01), optimizers.SGD(0.01, momentum=0.9))
    found = model.preflight((None, 2), batch_size=16)
    generator, judge = 4 * 8 + 8 + 8 * 2 + 2, 2 * 8 + 8 + 8 + 1
    assert found.parameters == generator + judge
    assert found.gradients == 4 * (generator + judge)
    assert 0 <= found.optimizer_state - 4 * (2 * judge + generator) < 80  # moments and momentum; counters and rates of three optimizers
    products = 2 * 16 * (2 * (4 * 8 + 8 * 2) + 3 * (2 * 8 + 8))  # the generator twice; the judge with 32 rows and with 16
    assert products < found.forward_flops < 1.4 * products < found.flops  # so small layers have many other operations
    assert found.data == 4 * 16 * 2
    runs = len(model.ledger), model.generator.ledger.call_count, model.judge.ledger.call_count
    assert runs[1:] == (1, 1)
    model.fit(np.ones((32, 2), "float32"), batch_size=16, verbose=0)
    assert (len(model.ledger), model.generator.ledger.call_count, model.judge.ledger.call_count) == runs
    assert found.flops == cost(step_of_fit(model), {}).flops


def test_a_distillation_is_measured_with_its_teacher():
    class Distiller(Net):
        def __init__(self, teacher):
            super().__init__()
            self.teacher = teacher

        def train_step(self, data):
            x, y = data
            weights = self.hidden.trainable_variables + self.out.trainable_variables

            def loss():
                return ops.mean(ops.square(self(x, training=True) - y - self.teacher(x, training=False)))

            value, grads = pellucid.value_and_grad(loss, weights)()
            self.optimizer.apply(grads, weights)
            return {"loss": value}

    class Teacher(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.wide, self.out = layers.Dense(200), layers.Dense(4)

        def call(self, x):
            return self.out(self.wide(x))

    teacher, of_teacher = Teacher(), 6 * 200 + 200 + 200 * 4 + 4
    teacher.build((None, 6))
    model = compiled(Distiller(teacher))
    found = model.preflight((None, 6), batch_size=16)
    assert found.weights == 4 * (PARAMETERS + of_teacher) and found.gradients == 4 * PARAMETERS
    student = compiled(Net()).preflight((None, 6), batch_size=16)
    more = 2 * 16 * (6 * 200 + 200 * 4)  # the teacher's products, forward only
    assert more < found.flops - student.flops < 1.2 * more
    assert more < found.forward_flops - student.forward_flops < 1.2 * more
    model.fit(np.ones((32, 6), "float32"), np.ones((32, 4), "float32"), batch_size=16, verbose=0)
    assert found.flops == cost(step_of_fit(model), {}).flops
    assert model.ledger.call_count == teacher.ledger.call_count == 1


def test_targets_that_a_step_of_ones_own_takes_are_asked_for():
    class Stepping(Net):
        def train_step(self, data):
            x, y = data
            return {"loss": ops.mean(self(x) - y)}

    model = compiled(Stepping(), loss=None)
    with pytest.raises(pellucid.CaptureError) as raised:
        model.preflight((None, 6), batch_size=16)
    assert "Where it takes targets, too, pass y=…" in "".join(raised.value.__notes__)
    assert model.preflight((None, 6), batch_size=16, y=(None, 4)).data == 4 * 16 * (6 + 4)


def test_before_compile_it_is_the_predict_step_of_ones_own():
    class Asking(Net):
        def predict_step(self, data):
            return self(data) @ ops.ones((4, 100))

    plain, own = Net().preflight((None, 6), batch_size=16), Asking().preflight((None, 6), batch_size=16)
    assert own.flops - plain.flops == 2 * 16 * 4 * 100 and own.forward_flops == plain.forward_flops
