"""`tfsasm ablate`: `evaluate` for every combination, with the network asked once per frame."""

import csv
import functools
import json
import re
import shutil

import numpy as np
import pytest

from helpers.scenes import write_folders
from tfsasm.cli import chosen
from tfsasm.evaluation.metrics import Report
from tfsasm.experiments import ablate as ablate_module
from tfsasm.experiments import run as ablate
from tfsasm.experiments.ablate import slices
from tfsasm.experiments.grid import combinations, parse_grid
from tfsasm.tracking.config import paper
from tfsasm.tracking.load import load

LOAD = functools.lru_cache(load)
GRID = ("capacity=0,3", "overlap_with=all,tracks")
LABELS = [
    f"memory.capacity={capacity},overlap_with={among}"
    for capacity in (0, 3) for among in ("all", "tracks")
]  # fmt: skip



@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # a narrow one cuts the tables


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch):
    monkeypatch.setattr(chosen, "load", LOAD)


@pytest.fixture
def clips(scene, tmp_path):
    return write_folders(scene, tmp_path / "clips")


@pytest.fixture
def run(tfsasm, clips, small_weights, tmp_path):
    """`tfsasm ablate` with the small network; None removes an option."""

    def run(*flags, grid=GRID, **options):
        given = {"root": clips, "output": tmp_path / "out", "weights": small_weights,
                 "preset": "paper"} | options  # fmt: skip
        pairs = [(f"--{k.replace('_', '-')}", v) for k, v in given.items() if v is not None]
        words = [part for pair in pairs for part in pair]
        return tfsasm("ablate", *words, "--grid", *grid, *flags, "--quiet")

    return run


def results(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.glob("*/*.txt"))}


def told(folder):
    return json.loads((folder / "ablation.json").read_text())


# What comes out


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_every_row_is_what_evaluate_gives(run, tfsasm, clips, small_weights, tmp_path, preset):
    outcome = run(preset=preset)
    assert outcome.code == 0, outcome.err
    assert list(told(tmp_path / "out")["rows"]) == LABELS
    for label in LABELS:
        wanted = tmp_path / label
        tfsasm("evaluate", "--root", clips, "--weights", small_weights, "--preset", preset,
               "--set", *label.split(","), "--output", wanted, "--quiet")  # fmt: skip
        for name in "abc":
            ours = tmp_path / "out" / label / f"{name}.txt"
            assert ours.read_bytes() == (wanted / f"{name}.txt").read_bytes()
        scores = json.loads((wanted / "scores.json").read_text())
        row = told(tmp_path / "out")["rows"][label]
        assert (row["combined"], row["sequences"]) == (scores["combined"], scores["sequences"])


def test_the_network_sees_each_frame_once(run, monkeypatch):
    seen = []
    real = ablate.encode
    monkeypatch.setattr(ablate_module, "encode", lambda *given: seen.append(1) or real(*given))
    assert run().code == 0
    assert len(seen) == 15


def test_the_best_row_is_told_and_what_it_gains(run, tmp_path):
    outcome = run(metric="IDF1")
    found = told(tmp_path / "out")
    scores = {label: row["combined"]["IDF1"] for label, row in found["rows"].items()}
    assert scores[found["best"]] == max(scores.values())
    assert f"best: {found['best']}: IDF1 {max(scores.values()):.2f}" in outcome.out
    assert found["against"] == LABELS[0]
    assert {gain["against"] for gain in found["gains"]} == {LABELS[0]}
    assert len(found["gains"]) == 3 * 3
    assert "the best of 4 is partly the luckiest" in outcome.out


def test_any_row_may_be_compared_against(run, tmp_path):
    assert run("--against", "capacity=3,overlap_with=all").code == 0
    assert told(tmp_path / "out")["against"] == LABELS[2]


def test_the_table_has_the_settings_in_columns(run):
    rows = [line.split() for line in run().out.splitlines()]
    wanted = ["capacity", "overlap_with", "HOTA"]
    head = next(at for at, row in enumerate(rows) if row[:3] == wanted)
    assert [row[:2] for row in rows[head + 2 : head + 6]] == [
        ["0", "all"], ["0", "tracks"], ["3", "all"], ["3", "tracks"],
    ]  # fmt: skip


def test_a_large_grid_shows_its_best_rows(run, monkeypatch, tmp_path):
    monkeypatch.setattr(ablate_module, "_SHOWN", 2)
    outcome = run()
    assert "the best 2 of 4 rows; the files have all" in outcome.out
    assert len(told(tmp_path / "out")["rows"]) == 4


def test_the_csv_has_a_column_per_setting(run, tmp_path):
    run()
    rows = list(csv.DictReader((tmp_path / "out/ablation.csv").open()))
    assert len(rows) == 4 * 4
    assert [(r["memory.capacity"], r["overlap_with"]) for r in rows if r["sequence"] == "combined"
            ] == [("0", "all"), ("0", "tracks"), ("3", "all"), ("3", "tracks")]  # fmt: skip


def test_pictures_are_there_where_there_is_something_to_see(run, tmp_path):
    outcome = run()
    assert f"wrote {tmp_path / 'out' / 'ablation.png'}" in outcome.out
    assert (tmp_path / "out/ablation.png").stat().st_size > 10_000
    single = run(grid=["capacity=3"], output=tmp_path / "single")
    assert single.code == 0
    assert not (tmp_path / "single/ablation.png").exists()
    assert "ablation.png" not in single.out


def test_two_workers_give_the_same_files(run, tmp_path):
    run()
    outcome = run("--workers", 2, output=tmp_path / "two")
    assert outcome.code == 0, outcome.err
    assert results(tmp_path / "two") == results(tmp_path / "out")


def test_weak_boxes_can_be_withheld(run, tmp_path):
    run()
    outcome = run("--min-score", 0.6, output=tmp_path / "few")
    assert outcome.code == 0
    assert results(tmp_path / "few") != results(tmp_path / "out")
    refused = run("--min-score", 0.5, output=tmp_path / "few")
    assert "min_score was 0.6, not 0.5" in refused.err


# What is refused


@pytest.mark.parametrize(("flags", "complaint"), [
    pytest.param(["--against", "capacity=9"], "no row of the grid with capacity=9", id="no row"),
    pytest.param(["--against", "capacity=0"], "2 rows of the grid with capacity=0", id="two rows"),
    pytest.param(["--grid", "birth_score=0.3"], "may be lifecycle.birth_score or association.birth",
                 id="an unclear name"),
    pytest.param(["--grid", "colour=1"], "no setting 'colour'", id="no such setting"),
    pytest.param(["--detections", "no.json"], "no.json does not exist", id="no boxes"),
    pytest.param(["--workers", "0"], "workers is 0", id="no workers"),
])  # fmt: skip
def test_what_cannot_be_done_is_said_before_any_work(run, tmp_path, flags, complaint):
    outcome = run(*flags)
    assert outcome.code == 2
    assert complaint in outcome.err
    assert not (tmp_path / "out").exists()


def test_what_cannot_begin_removes_nothing(run, tmp_path):
    run(grid=["capacity=3"])
    before = results(tmp_path / "out")
    refused = run("--precision", "fp8", "--overwrite", grid=["capacity=3"])
    assert refused.code == 2
    assert "not 'fp8'" in refused.err
    assert results(tmp_path / "out") == before != {}


def test_without_truth_no_row_can_be_the_best(run, clips, tmp_path):
    shutil.rmtree(clips / "b/gt")
    outcome = run()
    assert outcome.code == 2
    assert "no ground truth of b, so no row can be the best" in outcome.err
    assert not (tmp_path / "out").exists()


# What comes between


def followed(monkeypatch):
    """What is tracked from now on: sequence and rows."""
    seen = []
    real = ablate_module._follow
    monkeypatch.setattr(
        ablate_module, "_follow",
        lambda asked, *given: seen.append((given[-1], asked.todo[given[-1]])) or real(asked, *given)
    )  # fmt: skip
    return seen


def test_what_is_finished_is_not_tracked_again(run, tmp_path, monkeypatch):
    run()
    wanted, scores = results(tmp_path / "out"), told(tmp_path / "out")
    (tmp_path / "out" / LABELS[1] / "b.txt").unlink()
    seen = followed(monkeypatch)
    outcome = run()
    assert outcome.code == 0
    assert "2 of 3 sequences are done already" in outcome.out
    assert seen == [("b", (LABELS[1],))]
    assert (results(tmp_path / "out"), told(tmp_path / "out")) == (wanted, scores)


def test_a_grid_may_grow(run, tmp_path, monkeypatch):
    run(grid=["capacity=0,3"])
    before = results(tmp_path / "out")
    seen = followed(monkeypatch)
    assert run(grid=["capacity=0,1,3"]).code == 0
    assert seen == [(name, ("memory.capacity=1",)) for name in "abc"]
    assert before.items() < results(tmp_path / "out").items()
    assert [row["settings"]["memory.capacity"] for row in told(tmp_path / "out")["rows"].values()
            ] == ["0", "1", "3"]  # fmt: skip


def test_another_method_needs_another_folder(run, tmp_path):
    run()
    wanted = results(tmp_path / "out")
    refused = run("--set", "report_score=0.6")
    assert refused.code == 2
    assert "by other settings: method.report_score was 0.5, not 0.6" in refused.err
    assert "precision was auto, not bf16" in run("--precision", "bf16").err
    assert results(tmp_path / "out") == wanted
    assert run("--set", "report_score=0.6", "--overwrite").code == 0
    assert results(tmp_path / "out") != wanted


def test_a_stopped_run_goes_on_and_ends_alike(run, tmp_path, monkeypatch):
    run(output=tmp_path / "wanted")
    real = ablate_module._follow

    def stop(*given):
        steps = real(*given)
        for _ in range(3) if given[-1] == "b" else ():
            yield next(steps)
        if given[-1] == "b":
            raise KeyboardInterrupt
        return (yield from steps)

    monkeypatch.setattr(ablate_module, "_follow", stop)
    outcome = run()
    assert outcome.code == 130
    assert "stopped; what is finished is kept" in outcome.out
    assert {name.rpartition("/")[2] for name in results(tmp_path / "out")} == {"a.txt"}
    monkeypatch.setattr(ablate_module, "_follow", real)
    assert run().code == 0
    assert results(tmp_path / "out") == results(tmp_path / "wanted")
    assert told(tmp_path / "out") == told(tmp_path / "wanted")


def test_a_sequence_that_fails_is_left_out_of_every_row(run, clips, tmp_path):
    image = clips / "b/img1/00000005.png"
    image.write_bytes(image.read_bytes()[:500])
    outcome = run()
    assert outcome.code == 1
    assert "failed: b: " in outcome.out
    assert "left out: b: " in outcome.out
    found = told(tmp_path / "out")
    assert all(set(row["sequences"]) == {"a", "c"} for row in found["rows"].values())
    assert set(found["left_out"]) == {"b"}


# Slices


def sliced(*grid, best):
    """Slices of a grid whose row number `n` has a HOTA of `n`."""
    axes = parse_grid(grid, paper())
    rows = {row.label: row for row in combinations(axes, paper())}
    reports = {
        label: Report({}, type("Scores", (), {"HOTA": float(number)}))
        for number, label in enumerate(rows)
    }
    return slices(axes, rows, reports, list(rows)[best], "HOTA")


def test_a_slice_goes_through_the_best_row():
    """Rows count 0 to 11: capacity by six, travel by three, min_travel by one."""
    grid = ("capacity=0,5", "travel=layers,frames", "min_travel=0,0.1,0.2")
    found = {(one.down, one.across): one for one in sliced(*grid, best=7)}
    assert set(found) == {
        ("memory.capacity", "travel"), ("memory.capacity", "memory.min_travel"),
        ("travel", "memory.min_travel"),
    }  # fmt: skip
    first = found["memory.capacity", "travel"]
    np.testing.assert_array_equal(first.scores, [[1, 4], [7, 10]])
    assert (first.rows, first.columns, first.fixed) == (("0", "5"), ("layers", "frames"),
                                                        "min_travel 0.1")  # fmt: skip
    np.testing.assert_array_equal(
        found["travel", "memory.min_travel"].scores, [[6, 7, 8], [9, 10, 11]]
    )


def test_a_setting_with_one_value_is_held():
    [one] = sliced("capacity=0,5", "travel=frames", "min_travel=0,0.1", best=0)
    assert (one.down, one.across, one.fixed) == ("memory.capacity", "memory.min_travel",
                                                 "travel frames")  # fmt: skip


def test_a_grid_of_one_setting_is_a_strip():
    [one] = sliced("capacity=0,5,10", best=1)
    assert (one.down, one.across, one.scores.tolist()) == ("", "memory.capacity", [[0, 1, 2]])


def test_labels_are_names_of_folders():
    assert all(re.fullmatch(r"[\w.,=-]+", label) for label in LABELS)
