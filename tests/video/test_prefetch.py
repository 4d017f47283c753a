"""Work beside the main thread: order, errors, and that nothing is left running."""

import threading
import time

import pytest

from tfsasm.video.prefetch import background_calls, prefetch


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


class Broken(Exception):
    pass


def numbers(count, then=None, made=None):
    for number in range(count):
        if made is not None:
            made.append(number)
        yield number
    if then:
        raise then


@pytest.mark.parametrize("depth", [0, 1, 2, 50])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_items_come_in_order_whatever_the_depth(depth, count):
    assert list(prefetch(numbers(count), depth)) == list(range(count))


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_an_error_comes_after_the_items_before_it(depth):
    seen = []
    with pytest.raises(Broken, match="at five"):
        seen.extend(prefetch(numbers(5, Broken("at five")), depth))
    assert seen == list(range(5))


def test_no_more_is_made_in_advance_than_asked_for():
    made = []
    items = prefetch(numbers(100, made=made), 2)
    assert next(items) == 0
    time.sleep(0.3)
    assert len(made) <= 1 + 2 + 1  # taken, waiting, and one in hand
    items.close()
    assert len(made) <= 5


def test_items_are_made_by_another_thread_and_with_depth_0_by_this_one():
    where = [list(prefetch((threading.get_ident() for _ in range(1)), depth)) for depth in (0, 1)]
    assert where[0] == [threading.get_ident()]
    assert where[1] != where[0]


def test_calls_are_made_in_order_and_all_before_the_block_ends():
    seen = []

    def slow(number, *, twice=False):
        time.sleep(0.01)
        seen.append(number * (2 if twice else 1))

    with background_calls(slow, 2) as call:
        for number in range(8):
            call(number, twice=number == 7)
    assert seen == [0, 1, 2, 3, 4, 5, 6, 14]


def test_an_error_of_a_call_reaches_the_caller_and_ends_the_calls():
    seen = []

    def fail_at_two(number):
        if number == 2:
            raise Broken("at two")
        seen.append(number)

    def use():
        with background_calls(fail_at_two, 1) as call:
            for number in range(100):
                call(number)
                time.sleep(0.005)

    with pytest.raises(Broken, match="at two"):
        use()
    assert seen == [0, 1]


def test_an_error_of_the_last_call_is_not_lost():
    def fail():
        raise Broken("at the end")

    with pytest.raises(Broken, match="at the end"), background_calls(fail, 4) as call:
        call()


def test_the_callers_own_error_goes_first_and_what_was_asked_is_still_done():
    seen = []

    def use():
        with background_calls(seen.append, 5) as call:
            call(1)
            call(2)
            raise Broken("mine")

    with pytest.raises(Broken, match="mine"):
        use()
    assert seen == [1, 2]
