"""The linear layer that multiplies a few rows in another order."""

import pytest
import torch
import torch.nn.functional as F

from model.network.linear import FEW_ROWS, Linear, multiply


@pytest.mark.parametrize("shape", [(), (0,), (1,), (1, 1), (5, 1), (2, FEW_ROWS // 2), (9,)])
@pytest.mark.parametrize(("inputs", "outputs"), [(12, 30), (30, 12)])
@pytest.mark.parametrize("bias", [True, False])
def test_any_number_of_rows_gives_what_torch_gives(shape, inputs, outputs, bias):
    torch.manual_seed(0)
    layer = Linear(inputs, outputs, bias)
    x = torch.randn(*shape, inputs)
    with torch.inference_mode():
        ours = layer(x)
    torch.testing.assert_close(ours, F.linear(x, layer.weight, layer.bias))
    assert ours.is_contiguous()


def test_rows_that_do_not_lie_in_one_piece():
    torch.manual_seed(0)
    x, weight = torch.randn(10, 4, 2)[..., 0].t(), torch.randn(16, 10)
    with torch.inference_mode():
        torch.testing.assert_close(multiply(x, weight), F.linear(x, weight))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    torch.manual_seed(0)
    x, layer = torch.randn(3, 8).to(dtype), Linear(8, 16).to(dtype)
    with torch.inference_mode():
        ours = layer(x)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, F.linear(x, layer.weight, layer.bias))


def test_gradients_flow():
    layer = Linear(4, 8)
    layer(torch.ones(1, 4)).sum().backward()
    assert layer.weight.grad.equal(torch.ones(8, 4))
