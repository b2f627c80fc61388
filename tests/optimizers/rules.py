"""Optimizers written once for Keras and for Pellucid (``k`` is either library), and weights and gradients for them."""

import jax
import numpy as np

import pellucid

SHAPES = {"kernel": (4, 3), "tall": (5, 2), "stack": (2, 3, 4), "bias": (3,), "scale": (), "embeddings": (6, 2)}
STEPS = 20

RULES = {
    "SGD": lambda k, **a: k.optimizers.SGD(0.1, **a),
    "SGD, default": lambda k, **a: k.optimizers.SGD(**a),
    "SGD with momentum": lambda k, **a: k.optimizers.SGD(0.1, momentum=0.9, **a),
    "SGD with Nesterov's momentum": lambda k, **a: k.optimizers.SGD(0.1, momentum=0.7, nesterov=True, **a),
    "Adam": lambda k, **a: k.optimizers.Adam(0.1, **a),
    "Adam, default": lambda k, **a: k.optimizers.Adam(**a),
    "Adam, options": lambda k, **a: k.optimizers.Adam(0.1, beta_1=0.5, beta_2=0.8, epsilon=1e-2, **a),
    "Adam, amsgrad": lambda k, **a: k.optimizers.Adam(0.1, beta_2=0.7, amsgrad=True, **a),
    "AdamW": lambda k, **a: k.optimizers.AdamW(0.1, **a),
    "AdamW, options": lambda k, **a: k.optimizers.AdamW(0.1, **{"weight_decay": 0.3, "beta_1": 0.6, "epsilon": 1e-3, **a}),
    "AdamW, amsgrad": lambda k, **a: k.optimizers.AdamW(0.1, beta_2=0.7, amsgrad=True, **a),
    "Adamax": lambda k, **a: k.optimizers.Adamax(0.1, **a),
    "Adamax, options": lambda k, **a: k.optimizers.Adamax(0.05, beta_1=0.6, beta_2=0.8, epsilon=1e-2, **a),
    "Nadam": lambda k, **a: k.optimizers.Nadam(0.1, **a),
    "Nadam, options": lambda k, **a: k.optimizers.Nadam(0.05, beta_1=0.6, beta_2=0.8, epsilon=1e-2, **a),
    "Lamb": lambda k, **a: k.optimizers.Lamb(0.1, **a),
    "Lamb, options": lambda k, **a: k.optimizers.Lamb(0.05, beta_1=0.6, beta_2=0.8, epsilon=1e-2, **a),
    "Lion": lambda k, **a: k.optimizers.Lion(0.01, **a),
    "Lion, options": lambda k, **a: k.optimizers.Lion(0.01, beta_1=0.5, beta_2=0.7, **a),
    "RMSprop": lambda k, **a: k.optimizers.RMSprop(0.1, **a),
    "RMSprop, default": lambda k, **a: k.optimizers.RMSprop(**a),
    "RMSprop with momentum": lambda k, **a: k.optimizers.RMSprop(0.1, rho=0.7, momentum=0.8, **a),
    "RMSprop, centered": lambda k, **a: k.optimizers.RMSprop(0.1, centered=True, epsilon=1e-3, **a),
    "RMSprop, centered with momentum": lambda k, **a: k.optimizers.RMSprop(0.1, centered=True, momentum=0.5, **a),
    "Adagrad": lambda k, **a: k.optimizers.Adagrad(0.1, **a),
    "Adagrad, options": lambda k, **a: k.optimizers.Adagrad(0.1, initial_accumulator_value=0.0, epsilon=1e-2, **a),
    "Adadelta": lambda k, **a: k.optimizers.Adadelta(0.5, **a),
    "Adadelta, options": lambda k, **a: k.optimizers.Adadelta(1.0, rho=0.6, epsilon=1e-2, **a),
    "Adafactor": lambda k, **a: k.optimizers.Adafactor(0.1, **a),
    "Adafactor, options": lambda k, **a: k.optimizers.Adafactor(
        0.9, beta_2_decay=-0.5, epsilon_1=1e-6, epsilon_2=1e-1, clip_threshold=0.5, relative_step=False, **a
    ),
    "Ftrl": lambda k, **a: k.optimizers.Ftrl(0.1, **a),
    "Ftrl, options": lambda k, **a: k.optimizers.Ftrl(
        0.2,
        learning_rate_power=-0.7,
        initial_accumulator_value=0.3,
        l1_regularization_strength=0.05,
        l2_regularization_strength=0.1,
        l2_shrinkage_regularization_strength=0.02,
        beta=0.1,
        **a,
    ),
    "Muon": lambda k, **a: k.optimizers.Muon(0.01, **a),
    "Muon, options": lambda k, **a: k.optimizers.Muon(
        0.02,
        adam_beta_1=0.8,
        adam_weight_decay=0.1,
        exclude_layers=["ta.l"],
        exclude_embeddings=False,
        adam_lr_ratio=0.5,
        momentum=0.6,
        ns_steps=3,
        nesterov=False,
        rms_rate=None,
        **{"weight_decay": 0.05, **a},
    ),
}
ONE_EACH = {name: rule for name, rule in RULES.items() if "," not in name and "with" not in name}


def start(k, names=SHAPES):
    """Variables of either library, with the same values and names."""
    generator = np.random.default_rng(1)
    values = {name: generator.normal(size=shape).astype("float32") for name, shape in SHAPES.items()}
    return [k.Variable(values[name], name=name) for name in names]


def gradients(steps=STEPS, names=SHAPES):
    """For each step, a gradient for each variable. Some elements are zero."""
    generator = np.random.default_rng(2)
    made = [
        {n: np.asarray(generator.normal(size=s) * (generator.random(size=s) > 0.1), "float32") for n, s in SHAPES.items()}
        for _ in range(steps)
    ]
    return [[step[name] for name in names] for step in made]


def run(optimizer, variables, grads, rates=None):
    """The values of all variables after each step, as one array a step. (Compiled: op by op would take half a minute a rule.)

    Args:
        optimizer: of either library.
        variables: that are changed.
        grads: for each step, a gradient for each variable.
        rates: for some steps, the learning rate from there on.
    """
    optimizer.build(variables)
    own, after = optimizer.variables, []
    values, state, step = [v.value for v in variables], [v.value for v in own], jax.jit(optimizer.stateless_apply)
    for number, step_grads in enumerate(grads):
        if number in (rates or {}):
            place = next(i for i, v in enumerate(own) if v.path.endswith("/learning_rate"))
            state[place] = np.float32(rates[number])
        values, state = step(state, step_grads, values)
        after.append(flat(values))
    for variable, value in zip([*variables, *own], [*values, *state], strict=True):
        variable.assign(value)
    return np.stack(after)


def run_eagerly(optimizer, variables, grads):
    """The same with `apply`, in plain code."""
    after = []
    for step in grads:
        optimizer.apply(list(step), variables)
        after.append(flat(variables))
    return np.stack(after)


def flat(variables):
    return np.concatenate([np.ravel(np.asarray(v.value if hasattr(v, "value") else v)) for v in variables])


def ours_and_theirs(rule, steps=STEPS, rates=None, names=SHAPES, **arguments):
    """What both libraries make of the same steps."""
    import keras

    return [run(rule(k, **arguments), start(k, names), gradients(steps, names), rates) for k in (pellucid, keras)]
