"""Convolutions as products over shifted inputs, the forms for a CPU, have the values and derivatives of XLA's convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pellucid import ops
from pellucid.core.forms import FASTER_ON
from pellucid.ops import convolution_forms
from tests.cases import some_slow
from tests.ops.own_forms import check_derivatives

pytestmark = pytest.mark.skipif(jax.default_backend() not in FASTER_ON["convolve"], reason="this device takes the plain form")
RANDOM = np.random.default_rng(0)
LAST, FIRST = "channels_last", "channels_first"
CASES = {  # (shape of the inputs, of the kernel, strides, padding, dilation, data format)
    "each channel": ((2, 5, 4, 3), (3, 2, 1, 6), 1, "same", 1, LAST),
    "each channel, strides": ((4, 6, 5, 3), (3, 3, 1, 3), 2, "valid", 1, LAST),
    "each channel, channels first": ((2, 3, 6, 5), (3, 3, 1, 3), 1, "same", 2, FIRST),
    "groups": ((2, 5, 4, 6), (2, 2, 3, 4), 1, "same", 1, LAST),
    "groups with few channels": ((2, 5, 5, 2), (3, 1, 1, 32), 1, "valid", 1, LAST),
    "one element, strides": ((2, 5, 4, 3), (1, 1, 3, 4), 2, "valid", 1, LAST),
    "volumes": ((2, 3, 4, 3, 2), (2, 3, 2, 2, 3), 1, "same", 1, LAST),
    "volumes, strides and gaps": ((1, 5, 6, 7, 2), (2, 2, 3, 2, 3), (2, 1, 2), "valid", (1, 2, 2), LAST),
    "few channels": ((2, 5, 6, 3), (3, 2, 3, 20), 2, "same", 1, LAST),
    "few channels, series": ((2, 9, 1), (3, 1, 16), 1, "causal", 2, LAST),
    "shrinking": ((2, 5, 5, 16), (3, 2, 16, 16), 1, "valid", 1, LAST),
}
OFTEN = ["each channel, strides", "groups", "volumes", "few channels", "shrinking"]


def of_xla(x, kernel, strides, padding, dilation, data_format):
    rank, channels = x.ndim - 2, x.shape[-1 if data_format == LAST else 1]
    per_axis = lambda v: (v,) * rank if isinstance(v, int) else v
    edges = [((kernel.shape[0] - 1) * dilation, 0)] if padding == "causal" else padding.upper()
    space = "DHW"[3 - rank :]
    layout = f"N{space}C" if data_format == LAST else f"NC{space}"
    groups = channels // kernel.shape[-2]
    return jax.lax.conv_general_dilated(
        x, kernel, per_axis(strides), edges, None, per_axis(dilation), (layout, f"{space}IO", layout), groups
    )


def arrays_of(name):
    return (RANDOM.normal(size=shape).astype("float32") for shape in CASES[name][:2])


@pytest.mark.parametrize("name", some_slow(CASES, OFTEN))
def test_values_and_derivatives_are_those_of_the_plain_form(name):
    x, kernel = map(jnp.asarray, arrays_of(name))
    options = CASES[name][2:]
    check_derivatives(lambda x, k: ops.conv(x, k, *_in_order(options)), lambda x, k: of_xla(x, k, *options), x, kernel, atol=1e-4)


def _in_order(options):
    strides, padding, dilation, data_format = options
    return strides, padding, data_format, dilation


@pytest.mark.parametrize("name", CASES)
def test_every_case_has_a_form_of_its_own(name, monkeypatch):
    """Otherwise the tests above would compare the plain form with itself."""
    taken = []
    convolved = convolution_forms.convolved
    monkeypatch.setattr(ops.convolution, "convolved", lambda *a: taken.append(convolved(*a) is not None) or convolved(*a))
    x, kernel = arrays_of(name)
    jax.eval_shape(lambda x, k: ops.conv(x, k, *_in_order(CASES[name][2:])), x, kernel)
    assert taken == [True]


@pytest.mark.parametrize("channels_in, groups", [(3, 1), (16, 16)])
def test_inputs_that_need_no_gradient_cost_none(channels_in, groups):
    """As those of the first layer."""
    x, kernel = jnp.ones((2, 9, 9, channels_in)), jnp.ones((3, 3, channels_in // groups, 16))
    from_kernel = jax.jit(jax.grad(lambda k: (ops.conv(x, k) ** 2).sum())).lower(kernel).compile().cost_analysis()["flops"]
    from_both = jax.jit(jax.grad(lambda x, k: (ops.conv(x, k) ** 2).sum(), (0, 1))).lower(x, kernel).compile().cost_analysis()["flops"]
    assert from_kernel < 0.8 * from_both


def test_an_empty_batch_changes_no_kernel_of_single_channels():
    kernel = jnp.ones((3, 3, 2, 1))
    of = lambda kernel: ops.depthwise_conv(jnp.ones((0, 6, 6, 2)), kernel, padding="same").sum()
    np.testing.assert_array_equal(jax.grad(of)(kernel), jnp.zeros_like(kernel))
