import random

import numpy as np
import pytest

import pellucid


def test_seeds_pythons_and_numpys_generators_too():
    draws = []
    for _ in range(2):
        pellucid.utils.set_random_seed(7)
        draws.append((random.random(), np.random.rand(), np.random.permutation(5).tolist()))
    assert draws[0] == draws[1]


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True, "1", None])
def test_bad_seed_is_named_and_changes_nothing(seed):
    pellucid.utils.set_random_seed(1)
    expected = random.random()
    pellucid.utils.set_random_seed(1)
    with pytest.raises(ValueError, match="seed="):
        pellucid.utils.set_random_seed(seed)
    assert random.random() == expected
