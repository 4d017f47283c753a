"""Functions as graphs. What a GPU replays, a CPU runs once more, from and to the same memory."""

import logging
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from helpers.graphs import Captures
from tfsasm.motrv2.fast.graphs import Graphs, captured, wanted


@dataclass(frozen=True)
class Settings:
    factor: float = 2.0


@dataclass(frozen=True)
class Inner:
    flags: Tensor
    counts: Tensor


@dataclass(frozen=True)
class Outer:
    inner: Inner
    values: Tensor
    sizes: list[tuple[int, int]]


def work(given, settings, number):
    values = given.values * settings.factor + number
    inner = Inner(~given.inner.flags, given.inner.counts + 1)
    return replace(given, inner=inner, values=values), number + 1


def given(seed, rows=3, sizes=((1, 2),)):
    g = torch.Generator().manual_seed(seed)
    inner = Inner(torch.rand(rows, generator=g) > 0.5, torch.arange(rows) + seed)
    return Outer(inner, torch.randn(rows, 2, generator=g), list(sizes)), Settings(), torch.tensor(1)


def assert_same(found, answer):
    (one, first), (other, second) = found, answer
    assert torch.equal(first, second)
    assert torch.equal(one.values, other.values)
    assert torch.equal(one.inner.flags, other.inner.flags)
    assert torch.equal(one.inner.counts, other.inner.counts)
    assert one.sizes == other.sizes


def test_a_graph_answers_as_the_function_does():
    captures = Captures()
    graphs = Graphs(captures)
    for seed in range(5):
        assert_same(graphs(work, *given(seed)), work(*given(seed)))
    assert captures.count == 1
    assert captures.replays == 5
    assert graphs.refused == 0


def test_an_answer_stays_what_it_was():
    graphs = Graphs(Captures())
    answers = [graphs(work, *given(seed)) for seed in range(3)]
    for seed, answer in enumerate(answers):
        assert_same(answer, work(*given(seed)))


@pytest.mark.parametrize(("other", "count"), [
    pytest.param(given(1), 1, id="other numbers: the same graph"),
    pytest.param(given(1, rows=4), 2, id="other shapes"),
    pytest.param(given(1, sizes=[(2, 2)]), 2, id="another value beside the tensors"),
    pytest.param((given(1)[0], Settings(3.0), torch.tensor(1)), 2, id="another setting"),
    pytest.param((*given(1)[:2], torch.tensor(1.0)), 2, id="another dtype"),
])
def test_what_a_graph_is_good_for(other, count):
    captures = Captures()
    graphs = Graphs(captures)
    graphs(work, *given(0))
    assert_same(graphs(work, *other), work(*other))
    assert captures.count == count


def fails(work):
    raise RuntimeError("operation not permitted when stream is capturing")


def answers_otherwise(work):
    answer, _ = Captures()(work)
    return answer, lambda: answer[0].inner.counts.add_(1)


@pytest.mark.parametrize(("capture", "words"), [
    pytest.param(fails, "no CUDA graph of a frame (operation not permitted", id="not captured"),
    pytest.param(answers_otherwise, "the CUDA graph of a frame is wrong", id="wrong"),
])
def test_without_a_graph_that_is_right_the_function_serves(capture, words, caplog):
    graphs = Graphs(capture)
    with caplog.at_level(logging.WARNING):
        for seed in range(3):
            assert_same(graphs(work, *given(seed)), work(*given(seed)))
    assert [record.message.startswith(words) for record in caplog.records] == [True]
    assert graphs.refused == 1


def test_graphs_of_many_sizes_are_not_kept_for_ever():
    captures = Captures()
    graphs = Graphs(captures)
    for rows in (*range(1, 18), 17, 1):
        assert_same(graphs(work, *given(0, rows)), work(*given(0, rows)))
    assert captures.count == 18


def test_they_are_asked_for(monkeypatch):
    monkeypatch.delenv("TFSASM_GRAPHS", raising=False)
    assert not wanted()
    monkeypatch.setenv("TFSASM_GRAPHS", "1")
    assert wanted()


@pytest.mark.cuda
def test_a_gpu_replays_them():
    def there(seed):
        table, settings, number = given(seed)
        inner = Inner(table.inner.flags.cuda(), table.inner.counts.cuda())
        return replace(table, inner=inner, values=table.values.cuda()), settings, number.cuda()

    graphs = Graphs(captured)
    for seed in range(3):
        assert_same(graphs(work, *there(seed)), work(*there(seed)))
