"""What a run will need, by steps of a clock that the test winds."""

from dataclasses import replace
from itertools import repeat

import pytest

from helpers.scenes import drawn_blocks
from helpers.trainer import NETWORK, drawn_model
from tfsasm.training import estimate as module
from tfsasm.training.recipes import TrainConfig
from tfsasm.training.trainer import clip_length

CONFIG = TrainConfig(steps=100, batch=1, workers=1, lengths=((0.0, 2), (0.5, 4)),
                     checkpoint_minutes=1.0, precision="fp32")  # fmt: skip


@pytest.fixture
def estimate(monkeypatch):
    """With steps that take what `seconds` says, by their place in the run and their number."""
    clock, taken = [0.0], []

    def run(seconds, config=CONFIG, checkpoint=0.0, making=0.0):
        def blocks(index):
            clips = drawn_blocks(index)
            clock[0] += making * len(clips)
            return clips

        def train_step(run, clips):
            taken.append(run.step)
            clock[0] += seconds(clip_length(run.step, config), taken.count(run.step))

        def save(run, folder):
            clock[0] += checkpoint

        monkeypatch.setattr(module, "train_step", train_step)
        monkeypatch.setattr(module, "save", save)
        monkeypatch.setattr(module, "stream", lambda *_, **__: (None for _ in repeat(None)))
        monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
        return module.estimate(NETWORK, config, blocks, drawn_model(), notice=run.said.append)

    run.clock, run.said = clock, []
    return run


@pytest.mark.parametrize(("seconds", "minutes"), [
    pytest.param(0.01, 1, id="very quick"), pytest.param(1.0, 2, id="quick"),
    pytest.param(50.0, 9, id="slow"), pytest.param(200.0, 30, id="very slow"),
])
def test_how_long_it_takes_at_most_is_said_and_holds(estimate, seconds, minutes):
    estimate(lambda frames, nth: seconds * frames / 2)
    assert estimate.said == [
        f"measuring steps: about {minutes} min at most, judged by the first clip"
    ]
    assert estimate.clock[0] - seconds < 60 * minutes


def test_each_length_of_clip_counts_by_its_share(estimate):
    found = estimate(lambda frames, nth: float(frames))
    assert found.seconds == pytest.approx(3.0)
    assert found.hours == pytest.approx(300 / 3600)


@pytest.mark.parametrize(("workers", "making", "seconds"), [
    pytest.param(1, 5.0, 5.0, id="a run waits for its clips"),
    pytest.param(2, 5.0, 3.0, id="two make them in time"),
    pytest.param(0, 5.0, 3.0, id="a step that makes its own is timed whole"),
])  # fmt: skip
def test_a_run_is_as_quick_as_its_clips_are_made(estimate, workers, making, seconds):
    config = replace(CONFIG, workers=workers, lengths=((0.0, 3),))
    assert estimate(lambda frames, nth: 3.0, config, making=making).seconds == seconds


def test_first_steps_do_not_count(estimate):
    config = replace(CONFIG, lengths=((0.0, 2),))
    assert estimate(lambda frames, nth: 1.0 if nth > 1 else 60.0, config).seconds == 1.0


@pytest.mark.parametrize(("seconds", "clips"), [
    pytest.param(9.0, 4, id="slow: as few as say something"),
    pytest.param(100.0, 2, id="very slow: two"),
    pytest.param(1.0, 30, id="quick: for half a minute"),
    pytest.param(0.01, 40, id="very quick: not for ever"),
])
def test_a_slow_clip_is_taken_few_times(estimate, seconds, clips):
    taken = []
    estimate(lambda frames, nth: taken.append(nth) or seconds)
    assert len(taken) == 2 * (1 + clips)


@pytest.mark.parametrize("batch", [1, 8])
def test_the_clips_of_a_step_are_one_after_the_other(estimate, batch):
    found = estimate(lambda frames, nth: 100.0, replace(CONFIG, batch=batch, lengths=((0.0, 2),)))
    assert found.seconds == pytest.approx(100.0 * batch)
    assert found.hours == pytest.approx(100.0 * batch * CONFIG.steps / 3600)


def test_checkpoints_take_their_share(estimate):
    found = estimate(lambda frames, nth: 1.0, checkpoint=6.0)
    assert found.seconds == pytest.approx(1.1)


def test_a_checkpoint_after_every_step_adds_its_seconds_to_each(estimate):
    config = replace(CONFIG, checkpoint_minutes=0.0)
    assert estimate(lambda frames, nth: 1.0, config, checkpoint=6.0).seconds == 7.0
