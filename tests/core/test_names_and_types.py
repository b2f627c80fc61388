"""Registries, names, data types and seeds."""

from __future__ import annotations

import threading

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.core import dtypes, naming, seeds
from pellucid.core.registry import Registry
from pellucid.errors import did_you_mean

# ---- Registry ----


@pytest.fixture
def shapes():
    registry = Registry("shape", lambda entry: entry() if isinstance(entry, type) else entry)

    @registry.named("round")
    class Circle:
        def __init__(self, radius=1):
            self.radius = radius

    def square():
        return 4

    registry.add(square, "box")
    return registry, Circle, square


def test_entries_are_found_under_all_their_names(shapes):
    registry, Circle, square = shapes
    assert isinstance(registry.get("Circle"), Circle) and isinstance(registry.get("round"), Circle)
    assert registry.get("square") is registry.get("box") is square
    assert registry.get("round") is not registry.get("round")  # a class gives a new object each time


def test_callables_classes_and_configs_are_taken(shapes):
    registry, Circle, square = shapes
    ready = lambda: 3
    assert registry.get(ready) is ready
    assert isinstance(registry.get(Circle), Circle)
    assert registry.get({"class_name": "Circle", "config": {"radius": 5}}).radius == 5
    assert registry.get({"class_name": "Circle"}).radius == 1


@pytest.mark.parametrize("identifier", ["sqare", {"class_name": "sqare"}])
def test_unknown_names_suggest_the_nearest(shapes, identifier):
    with pytest.raises(ValueError, match="There is no shape 'sqare'. Did you mean 'square'?"):
        shapes[0].get(identifier)


@pytest.mark.parametrize("identifier", [3, None, ["square"], {"name": "square"}])
def test_what_is_no_identifier_is_refused_with_what_was_expected(shapes, identifier):
    with pytest.raises(TypeError, match="is no shape; expected a name .*Circle.* or a callable"):
        shapes[0].get(identifier)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Adm", "Did you mean 'Adam'?"), ("ADAM", "Did you mean 'Adam'?"), ("zzz", "Known names: Adam, SGD."), (7, "Known names: Adam, SGD.")],
)
def test_suggestions_ignore_case_and_list_all_when_none_is_near(name, expected):
    assert did_you_mean(name, ["SGD", "Adam"]) == expected


@pytest.mark.parametrize(("name", "nearest"), [("adan", "adam"), ("Adan", "Adam"), ("msee", "mse"), ("MSEE", "MSE")])
def test_of_names_that_differ_in_case_the_one_written_alike_is_suggested(name, nearest):
    assert did_you_mean(name, ["Adam", "MSE", "SGD", "adam", "mse"]) == f"Did you mean {nearest!r}?"


# ---- Names ----


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Dense", "dense"),
        ("BatchNormalization", "batch_normalization"),
        ("Conv2D", "conv2d"),
        ("Conv2DTranspose", "conv2d_transpose"),
        ("ReLU", "re_lu"),
        ("GRUCell", "gru_cell"),
        ("MyVAE", "my_vae"),
        ("_Private", "private"),
        ("already_snake", "already_snake"),
    ],
)
def test_class_names_in_snake_case(name, expected):
    assert naming.snake_case(name) == expected


@given(st.lists(st.sampled_from(["a", "b", "a_1"]), max_size=30))
def test_names_given_out_for_one_base_never_repeat(bases):
    naming.reset_names()
    given_out = [(base, naming.unique_name(base)) for base in bases]
    for base in set(bases):
        own = [name for b, name in given_out if b == base]
        assert own == [base, *(f"{base}_{i}" for i in range(1, len(own)))][: len(own)]


def test_numbering_starts_anew_after_a_reset():
    assert [naming.unique_name("x"), naming.unique_name("x")] == ["x", "x_1"]
    naming.reset_names()
    assert naming.unique_name("x") == "x"


# ---- Data types ----


@pytest.mark.parametrize(
    ("given_type", "expected"),
    [
        (None, "float32"),
        ("float", "float32"),
        ("int", "int32"),
        (float, "float32"),
        (int, "int32"),
        (bool, "bool"),
        ("bfloat16", "bfloat16"),
        (np.float16, "float16"),
        (np.dtype("int8"), "int8"),
        (jnp.bfloat16, "bfloat16"),
        (jnp.uint8, "uint8"),
    ],
)
def test_data_types_by_any_name(given_type, expected):
    assert dtypes.standardize_dtype(given_type) == expected


def test_unknown_data_types_suggest_the_nearest():
    with pytest.raises(ValueError, match="dtype='flaot32' is not known. Did you mean 'float32'?"):
        dtypes.standardize_dtype("flaot32")
    with pytest.raises(ValueError, match="is not a data type; expected a name such as 'float32'"):
        dtypes.standardize_dtype(object())


def test_the_default_float_is_used_where_none_is_named():
    dtypes.set_floatx("bfloat16")
    assert (
        dtypes.floatx()
        == dtypes.standardize_dtype(None)
        == dtypes.standardize_dtype("float")
        == dtypes.standardize_dtype(float)
        == "bfloat16"
    )
    assert dtypes.to_floatx(np.ones(2)).dtype == jnp.bfloat16
    assert dtypes.to_floatx(np.ones(2, "float16")).dtype == "float16"


@pytest.mark.parametrize("name", ["int32", "flaot32", None])
def test_only_floats_are_the_default_float(name):
    with pytest.raises(ValueError, match="set_floatx: value=.* is no float type"):
        dtypes.set_floatx(name)
    assert dtypes.floatx() == "float32"


@pytest.mark.parametrize(
    ("dtype", "expected"), [("float32", True), ("bfloat16", True), ("int32", False), ("bool", False), ("complex64", False)]
)
def test_which_types_are_floats(dtype, expected):
    assert dtypes.is_float(jnp.dtype(dtype)) is expected


# ---- Seeds ----


def test_streams_of_seeds_repeat_and_do_not_influence_each_other():
    seeds.set_global_seed(3)
    alone = [seeds.next_seed("dropout") for _ in range(3)]
    seeds.set_global_seed(3)
    mixed = [(seeds.next_seed("dropout"), seeds.next_seed("shuffle"))[0] for _ in range(3)]
    assert alone == mixed
    assert len(set(alone)) == 3
    seeds.set_global_seed(4)
    assert seeds.next_seed("dropout") not in alone


def test_seeds_fit_into_63_bits_and_differ_between_streams():
    drawn = [seeds.next_seed(stream) for stream in ("a", "b", "c") for _ in range(50)]
    assert len(set(drawn)) == 150
    assert all(0 <= s < 2**63 for s in drawn)


def test_threads_draw_no_seed_twice():
    drawn = []
    threads = [threading.Thread(target=lambda: drawn.extend(seeds.next_seed("x") for _ in range(50))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(drawn)) == 200


@pytest.mark.parametrize("seed", [-1, 1.5, "3", None, True])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(ValueError, match="set_global_seed: seed=.*expected a whole number that is not negative"):
        seeds.set_global_seed(seed)
