"""What is imported when. Each case runs in a process of its own."""

import pathlib
import subprocess
import sys
import textwrap

import pytest

import pellucid

SRC = pathlib.Path(__file__).parents[2] / "src"
PACKAGES = ("", ".layers", ".utils", ".datasets")


def run(script):
    """What a script prints in a fresh process."""
    start = f"import sys; sys.path.insert(0, {str(SRC)!r})\n"
    done = subprocess.run([sys.executable, "-c", start + textwrap.dedent(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_import_takes_jax_and_little_else():
    script = """
        import jax
        before = set(sys.modules)
        import pellucid
        print(*sorted(set(sys.modules) - before))
    """
    assert run(script) == "pellucid pellucid.core pellucid.core.lazily"


def test_a_small_model_is_trained_without_what_it_does_not_use():
    script = """
        import pellucid as keras

        class Small(keras.Model):
            def __init__(self):
                super().__init__()
                self.out = keras.layers.Dense(1)

            def call(self, x):
                return self.out(x)

        model = Small()
        model.compile("sgd", "mse", metrics=["mae"])
        model.fit(np.ones((8, 2), "float32"), np.ones((8, 1), "float32"), verbose=0)
        heavy = ["h5py", "optax", "rich", "argparse", "tarfile", "urllib.request", "keras"]
        own = ["datasets.files", "layers.recurrent", "layers.convolution", "layers.multi_head_attention", "utils.plotting", "cli"]
        print(*[m for m in heavy + ["pellucid." + name for name in own] if m in sys.modules and m not in before])
    """
    assert run("import jax, numpy as np; before = set(sys.modules)\n" + textwrap.dedent(script)) == ""


DENSE = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 4}, "registered_name": None}


@pytest.mark.parametrize(
    "script, printed",
    [
        ("from pellucid.layers import Dense, Input; print(Dense(4)(Input((3,))).shape)", "(None, 4)"),
        ("from pellucid.layers import Dense; print(Dense(4).compute_output_shape((None, 3)), Dense(4).metrics)", "(None, 4) []"),
        ("from pellucid.core import registry as r; print(*r.initializers.get('ones')((4,)), r.activations.get('relu'))", "1.0 1.0 1.0 1.0"),
        (f"from pellucid.saving import deserialize_keras_object as read; print(read({DENSE}).get_config()['activation'])", "linear"),
        ("from pellucid.core import layer, serialization; print(serialization.public_module(layer.Layer))", "pellucid.layers"),
        ("import pellucid as keras; print(keras.metrics.get('mae').name, keras.optimizers.get('adam').name)", "mae adam"),
        ("from pellucid import *; from pellucid.layers import *; print(Dense(4).units, layers.Dense is Dense)", "4 True"),
    ],
)
def test_what_is_used_first_finds_all_that_it_needs(script, printed):
    assert run(script).startswith(printed)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_and_listed(package):
    module = sys.modules["pellucid" + package] if package else pellucid
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is getattr(module, name)
        assert f"{module.__name__}.{name}" not in sys.modules or getattr(module, name) is sys.modules[f"{module.__name__}.{name}"]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_is_not_there_is_an_attribute_error(package):
    module = sys.modules["pellucid" + package] if package else pellucid
    with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'Dence'"):
        module.Dence  # noqa: B018
    assert not hasattr(module, "Dence")
