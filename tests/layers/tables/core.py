"""Dense and its like."""

from tests.layers.case import Case, normal

TABLE = normal(4, 6)
SERIES = normal(4, 3, 5)
IMAGES = normal(2, 3, 4, 2)

CASES = {
    "Dense": Case(lambda k: k.layers.Dense(3), TABLE),
    "Dense relu": Case(lambda k: k.layers.Dense(3, activation="relu", bias_initializer="ones"), TABLE),
    "Dense without bias, in time": Case(lambda k: k.layers.Dense(2, use_bias=False), SERIES),
    "Dense in four dimensions": Case(lambda k: k.layers.Dense(3, activation="tanh"), IMAGES),
    "Dense softmax in time": Case(lambda k: k.layers.Dense(3, activation="softmax"), SERIES),
    "Dense softmax over time": Case(lambda k: k.layers.Dense(1, activation=lambda y: k.ops.softmax(y, axis=1)), SERIES, config=False),
    "Dense with regularizers": Case(
        lambda k: k.layers.Dense(3, kernel_regularizer="l1l2", bias_regularizer=k.regularizers.L1(0.5), activity_regularizer="l2"), TABLE
    ),
    "Identity": Case(lambda k: k.layers.Identity(), SERIES),
}
