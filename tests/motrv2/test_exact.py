"""Products by oneDNN: PyTorch's results, and who is asked when."""

import pytest
import torch
import torch.nn.functional as F

from tfsasm.motrv2.exact import Linear, linear, products


def exact(x, weight, bias):
    """The product in float64."""
    return F.linear(x.double(), weight.double(), bias.double())


@torch.no_grad()
@pytest.mark.parametrize("rows", [0, 1, 15, 16, 191, 192, 300])
@pytest.mark.parametrize("columns", [8, 384, 385, 1024])
def test_it_is_the_product(rows, columns):
    x, weight, bias = torch.randn(2, rows, columns), torch.randn(5, columns), torch.randn(5)
    found = linear(x, weight, bias)
    assert found.shape == (2, rows, 5)
    torch.testing.assert_close(found.double(), exact(x, weight, bias), rtol=1e-5, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("queries", "keys"), [(0, 0), (3, 3), (20, 20), (20, 7)])
def test_products_go_matrix_by_matrix(queries, keys):
    x, y = torch.randn(2, 4, queries, 32), torch.randn(2, 4, keys, 32)
    torch.testing.assert_close(products(x, y), x @ y.transpose(-1, -2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("x", "asked"), [
    pytest.param(torch.zeros(20, 8), True, id="float32 on the CPU"),
    pytest.param(torch.zeros(20, 8, dtype=torch.float64), False, id="another precision"),
    pytest.param(torch.zeros(15, 8), False, id="a few rows"),
    pytest.param(torch.zeros(0, 8), False, id="no rows"),
])  # fmt: skip
def test_onednn_is_asked_where_it_serves(x, asked):
    with torch.no_grad(), torch.profiler.profile() as profile:
        linear(x, x.new_zeros(4, 8), x.new_zeros(4))
    called = "mkldnn::_linear_pointwise" in {event.key for event in profile.key_averages()}
    assert called == (asked and torch.backends.mkldnn.is_available())


def test_gradients_are_pytorchs_own():
    layer, x = Linear(8, 4), torch.randn(20, 8, requires_grad=True)
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.detach().sum(0).expand(20, 8))
