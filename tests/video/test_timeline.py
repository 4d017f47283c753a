"""What is known of a stream that is damaged for ever takes no more memory than of one day of it."""

from __future__ import annotations

from fractions import Fraction

from tfsasm.video.timeline import KEPT, Events, Timeline, spans


def test_events_beyond_the_first_are_counted():
    events = Events()
    assert (events.count, events.first, events.last) == (0, [], None)
    for number in range(3 * KEPT):
        events.add(number)
    assert (events.count, events.last) == (3 * KEPT, 3 * KEPT - 1)
    assert events.first == list(range(KEPT))


def test_an_endless_damaged_stream_keeps_a_count():
    """Every other frame is lost; and a clock that begins anew after every second frame."""
    damaged, restarted = Timeline(Fraction(25)), Timeline(Fraction(25), restartable=True)
    for number in range(3 * KEPT):
        damaged.damaged(lost=1)
        damaged.image(number * 2 / 25)
        restarted.image(0.04 * (number % 2) + 100 * (number // 2 % 2))
    assert damaged.damage.count == 3 * KEPT
    assert damaged.missing.count == damaged.lost == 3 * KEPT
    assert restarted.restarts.count == 3 * KEPT / 2 - 1
    for events in (damaged.damage, damaged.missing, restarted.restarts):
        assert len(events.first) == KEPT


def test_gaps_are_named_by_the_first_of_them():
    gaps = [range(3, 4), range(7, 9), *(range(n, n + 1) for n in range(20, 30))]
    assert spans(gaps) == "3, 7-8, 20, 21, 22 and 7 more"
    assert spans(gaps, 2000) == "3, 7-8, 20, 21, 22 and 1995 more"
