"""Options as users read them: in boxes, everyday ones first, and in words."""

import dataclasses
import re
from typing import Literal

import pytest
import tyro

from tfsasm.cli.main import COMMANDS, options_of, parse
from tfsasm.cli.parsing import GROUPS, spoken

PYTHON = re.compile(r"\bNone\b|\bTrue\b|\bFalse\b|<class|\('|\[['\]]|default: \)|default: ''"
                    r"|\b(INT|FLOAT|STR)\b")


def boxes(text):
    """Title and text of every box of a help, which a test's screen shows between lines."""
    parts = re.split(r"\n (\S.*?) *\n -+ *\n", text)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("command", COMMANDS)
def test_no_help_speaks_python(tfsasm, command):
    assert not (found := PYTHON.search(tfsasm(command, "--help").out)), found


def test_everyday_options_stand_first_and_expert_ones_last(tfsasm):
    found = boxes(tfsasm("track", "--help").out)
    assert list(found) == [
        "positional arguments", "options", *(f"{title} options" for title in GROUPS),
    ]
    for name in ("output", "save", "classes", "detector", "tracker", "show"):
        assert f"--{name} " in found["options"]
    for name in ("weights", "preset", "precision", "threads", "set"):
        assert f"--{name} " not in found["options"]
    assert "--set " in found["expert options"]


def test_a_short_command_has_one_box(tfsasm):
    assert list(boxes(tfsasm("score", "--help").out)) == ["options"]


def test_names_of_boxes_are_those_of_options():
    """A renamed option would slip into the everyday ones."""
    known = {field.name for name in COMMANDS for field in dataclasses.fields(options_of(name))}
    assert {name for group in GROUPS.values() for name in group} <= known


@pytest.mark.parametrize(("given", "words"), [
    pytest.param("", "a name is empty", id="nothing"),
    pytest.param(" ", "a name is empty", id="blank"),
    pytest.param("-", "'-' is no file", id="a dash"),
    pytest.param("\x1c", "error: ", id="what is blank to Python, and to a disk a name"),
])  # fmt: skip
@pytest.mark.parametrize("arguments", [
    ["track", "v.mp4", "--detections"], ["track", "v.mp4", "--output"],
    ["score", "--results", "r", "--gt"],
])  # fmt: skip
def test_a_name_that_names_no_file_is_refused(tfsasm, arguments, given, words):
    """An empty one would be the folder where the command runs."""
    ended = tfsasm(*arguments, given)
    assert ended.code == 2
    assert words in " ".join((ended.out + ended.err).split())


def test_what_is_parsed_is_what_would_be_made_by_hand():
    kind = options_of("track")
    given = parse(["track", "a.mp4", "b.mp4", "--stride", "2", "--weights", "w", "--set", "a=1"])
    assert given == kind(source=("a.mp4", "b.mp4"), stride=2, weights="w", set=("a=1",))


@pytest.mark.parametrize(("words", "answer"), [
    pytest.param(["track", "x", "--save", "foo"],
                 "video, images, mot, json, csv, report, coco, cvat, fiftyone", id="some"),
    pytest.param(["track", "x", "--preset", "best"], "default, released, paper, motrv2", id="one"),
    pytest.param(["compare", "--root", "x", "--public", "A"], "DPM, FRCNN, SDP", id="or none"),
    pytest.param(["detect", "--detector", "d", "--output", "o", "--dataset", "A"],
                 "dancetrack, mot15, mot16, mot17", id="of a named kind"),
    pytest.param(["datasets", "see", "--root", "x"], "Expected one of check.", id="only one"),
    pytest.param(["train", "--output", "o", "--cycle", "3"], "Expected one of 1, 2.", id="numbers"),
    pytest.param(["track", "x", "--end", "soon"], "'soon' is not a whole number", id="no number"),
])  # fmt: skip
def test_a_wrong_value_is_answered_with_the_right_ones_in_words(tfsasm, words, answer):
    outcome = tfsasm(*words)
    text = " ".join(outcome.err.replace("│", " ").split())
    assert (outcome.code, outcome.out) == (2, "")
    assert answer in text
    assert not PYTHON.search(text), text


@dataclasses.dataclass(frozen=True)
class Both:
    """Options of two kinds of choices."""

    first: Literal["a"] | Literal["b"] | None = None
    """One
    of two."""
    number: int | float = 0
    """Any."""


def test_choices_of_a_union_are_one_list(capsys):
    def read(*words):
        return tyro.cli(Both, args=words, registry=spoken(), prog="x")

    assert read() == Both()
    assert read("--first", "b", "--number", "2.5") == Both("b", 2.5)
    with pytest.raises(SystemExit):
        read("--first", "c")
    assert "Expected one of a, b." in capsys.readouterr().err
    with pytest.raises(SystemExit):
        read("--help")
    out = capsys.readouterr().out
    assert "One of two." in " ".join(out.split())
    assert "(default: 0)" in out
