"""Attention among queries, against PyTorch's own."""

import pytest
import torch
from torch import nn

from tfsasm.motrv2.transformer import SelfAttention


def pair(width=32, heads=4):
    mine = SelfAttention(width, heads)
    theirs = nn.MultiheadAttention(width, heads, batch_first=True)
    theirs.load_state_dict(mine.state_dict())
    return mine.eval(), theirs.eval()


@pytest.mark.parametrize("gradient", [
    pytest.param(True, id="training"), pytest.param(False, id="tracking"),
])  # fmt: skip
@pytest.mark.parametrize("queries", [1, 5, 40])
def test_it_is_multi_head_attention(queries, gradient):
    mine, theirs = pair()
    x, value = torch.randn(2, queries, 32), torch.randn(2, queries, 32)
    with torch.set_grad_enabled(gradient):
        wanted = theirs(x, x, value, need_weights=False)[0]
        torch.testing.assert_close(mine(x, value), wanted, rtol=1e-5, atol=1e-6)


def test_what_is_forbidden_is_not_looked_at():
    mine, theirs = pair()
    x = torch.randn(1, 6, 32)
    attention_mask = torch.zeros(6, 6, dtype=torch.bool)
    attention_mask[:4, 4:] = True
    wanted = theirs(x, x, x, attn_mask=attention_mask, need_weights=False)[0]
    torch.testing.assert_close(mine(x, x, attention_mask), wanted, rtol=1e-5, atol=1e-6)
    changed = x.clone()
    changed[:, 4:] += 1
    before, after = mine(x, x, attention_mask), mine(changed, changed, attention_mask)
    torch.testing.assert_close(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4:], before[:, 4:])
