"""What others' files hold is shown on the screen, never obeyed by it."""

import logging
import sys
from dataclasses import fields

import pytest

from tfsasm.cli import demo
from tfsasm.cli.progress import PlainConsole, log_handler, print_lines, progress, web_address
from tfsasm.errors import InputError, visible
from tfsasm.evaluation.metrics import Scores
from tfsasm.evaluation.tables import scores_table

HOSTILE = "\x1b[2J\x1b]0;mine\x9ca\x9b31m\u202eb[/red][bold]:boom:"
SHOWN = r"\x1b[2J\x1b]0;mine\x9ca\x9b31m\u202eb[/red][bold]:boom:"


def test_what_a_terminal_obeys_is_written_out():
    assert visible(HOSTILE) == SHOWN
    assert visible("\x07") == r"\x07"
    assert visible("Üben\t3\n名前 🎉") == "Üben\t3\n名前 🎉"


def by_print(console):
    console.print(HOSTILE)


def by_lines(console):
    print_lines(console, HOSTILE)


def by_table(console):
    console.print(scores_table({HOSTILE: None}, columns=()))


def by_log(console):
    record = logging.makeLogRecord({"msg": "%s", "args": (HOSTILE,)})
    log_handler(console).handle(record)


def by_progress(console):
    with progress(console) as bar:
        bar.add_task(HOSTILE, total=3)


@pytest.mark.parametrize("show", [by_print, by_lines, by_table, by_log, by_progress])
def test_a_hostile_name_is_shown_as_it_is_written(show, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    show(PlainConsole())
    out = capsys.readouterr().out
    assert SHOWN[:30] in out if show is by_progress else SHOWN in out
    assert not set("\x1b\x9b\x9c\u202e") & set(out)


@pytest.mark.parametrize("show", [by_print, by_lines, by_table, by_log])
def test_a_password_of_an_address_is_not_shown(show, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys.modules[__name__], "HOSTILE", "rtsp://me:hunter2@camera/1?token=abcd")
    show(PlainConsole())
    out = capsys.readouterr().out
    assert "rtsp://camera/1?token=***" in out
    assert "hunter2" not in out


def test_colours_are_still_written(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    PlainConsole().print("\x1bred", style="red")
    assert capsys.readouterr().out == "\x1b[31m\\x1bred\x1b[0m\n"


def test_an_error_of_a_command_obeys_nothing(tfsasm, monkeypatch):
    def fail(*_):
        raise InputError(f"{HOSTILE} is no name")

    monkeypatch.setattr(demo, "run", fail)
    assert tfsasm("demo").err == f"error: {SHOWN} is no name\n"


ROW = Scores(*range(100, 100 + len(fields(Scores)) - 1), curves={})


@pytest.mark.parametrize("width", ["30", "60", "200"])
def test_no_number_of_a_table_is_cut_however_narrow_the_terminal(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", width)
    PlainConsole().print(scores_table({"a": ROW}, title="All", more={"fps": {"a": "31.2"}}))
    words = capsys.readouterr().out.replace(",", " ").split()
    for name in ("HOTA", "MOTA", "IDF1", "FN"):
        assert {name, str(getattr(ROW, name))} <= set(words)
    assert {"All", "fps", "31.2"} <= set(words)


def test_a_table_in_a_file_keeps_its_columns(capsys, monkeypatch):
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):  # other packages set them
        monkeypatch.delenv(name, raising=False)
    names = [f"a column with a long name, number {number}" for number in range(9)]
    PlainConsole().print(scores_table({"a": ROW}, more={name: {"a": "1"} for name in names}))
    assert any(all(name in line for name in names) for line in capsys.readouterr().out.splitlines())


def test_an_address_can_be_opened_whatever_the_host():
    assert web_address("127.0.0.1", 80) == "http://127.0.0.1:80"
    assert web_address("::1", 7860) == "http://[::1]:7860"
