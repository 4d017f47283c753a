"""Gains within sequences, and how sure they are."""

import dataclasses
import json

import pytest

from tfsasm.errors import InputError
from tfsasm.evaluation.metrics import Report, Scores
from tfsasm.evaluation.significance import differences

ZERO = Scores(**{f.name: 0 for f in dataclasses.fields(Scores) if f.name != "curves"}, curves={})


def report(*hotas, metric="HOTA"):
    sequences = {
        name: dataclasses.replace(ZERO, **{metric: value})
        for name, value in zip("abcdefgh", hotas, strict=False)
    }
    return Report(sequences, ZERO)


def hota(reports, **options):
    return [gain for gain in differences(reports, **options) if gain.metric == "HOTA"]


def test_the_gain_is_the_mean_of_the_differences():
    [gain] = hota({"old": report(50, 60, 70), "new": report(53, 60, 76)})
    assert (gain.name, gain.against, gain.mean) == ("new", "old", 3.0)
    assert gain.sequences == {"a": 3, "b": 0, "c": 6}


def test_the_interval_tells_a_steady_gain_from_a_lucky_one():
    base = report(*[50] * 8)
    [_, steady, lucky] = hota({
        "none": base, "same": base, "steady": report(*[51, 53] * 4),
        "lucky": report(66, *[50] * 7),
    })  # fmt: skip
    assert steady.mean == lucky.mean == 2.0
    assert 1 <= steady.low < 2 < steady.high <= 3
    assert lucky.low == 0 < 2 < lucky.high


def test_differences_between_sequences_do_not_widen_it():
    [gain] = hota({"old": report(10, 50, 90), "new": report(11, 51, 91)})
    assert (gain.mean, gain.low, gain.high) == (1, 1, 1)


def test_one_sequence_has_no_interval():
    [gain] = hota({"old": report(50), "new": report(53)})
    assert (gain.low, gain.high, gain.text) == (None, None, "+3.00")


def test_any_of_them_may_be_compared_against():
    reports = {"a": report(1, 2), "b": report(2, 3), "c": report(5, 6)}
    found = hota(reports, against="b")
    assert [(gain.name, gain.mean) for gain in found] == [("a", -1), ("c", 3)]
    assert found[1].text == "+3.00 [+3.00, +3.00]"


def test_one_alone_gains_nothing():
    assert differences({"a": report(1, 2)}) == []


def test_they_can_be_put_into_json():
    found = [gain.to_json() for gain in differences({"a": report(1), "b": report(2)})]
    assert json.loads(json.dumps(found))[0] == {
        "name": "b", "against": "a", "metric": "HOTA", "mean": 1.0, "low": None, "high": None,
        "sequences": {"a": 1.0},
    }  # fmt: skip
    assert [gain["metric"] for gain in found] == ["HOTA", "AssA", "IDF1"]


def test_other_sequences_are_refused():
    with pytest.raises(InputError, match="c and b are not of the same sequences"):
        differences({"b": report(1, 2), "c": report(1)})


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match="'z' is not among a, b"):
        differences({"a": report(1), "b": report(1)}, against="z")
