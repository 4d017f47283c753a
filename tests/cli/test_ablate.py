"""`tfsasm ablate`: `evaluate` for every combination, and the best of them."""

import csv
import functools
import json
import re
import shutil

import pytest

from helpers.commands import FolderDetector, run_command, words_of
from helpers.scenes import write_folders

GRID = ("capacity=0,3", "overlap_with=all,tracks")
LABELS = [
    f"memory.capacity={capacity},overlap_with={among}"
    for capacity in (0, 3) for among in ("all", "tracks")
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(scene, small_weights, tmp_path_factory):
    """A run of the grid: what it printed, its folder, its clips. For tests that only read them."""
    folder = tmp_path_factory.mktemp("finished")
    outcome = run_command(
        "ablate", "--root", write_folders(scene, folder / "clips"), "--output", folder / "out",
        "--weights", small_weights, "--preset", "paper", "--metric", "IDF1", "--grid", *GRID,
        "--quiet",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    return outcome.out, folder / "out", folder / "clips"


@pytest.fixture
def run(tfsasm, clips, small_weights, tmp_path):
    """`tfsasm ablate` with the small network; None removes an option, `more` goes to `run`."""

    def run(*flags, grid=GRID, more=None, **options):
        given = {"root": clips, "output": tmp_path / "out", "weights": small_weights,
                 "preset": "paper"} | options  # fmt: skip
        words = ["ablate", *words_of(given, "--grid", *grid, *flags, "--quiet")]
        return run_command(*words, **more) if more else tfsasm(*words)

    return run


@pytest.fixture
def again(run, finished, tmp_path):
    """The same over what `finished` has done."""
    shutil.copytree(finished[1], tmp_path / "out")
    return functools.partial(run, root=finished[2])


def results(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.glob("*/*.txt"))}


def content(folder):
    return json.loads((folder / "ablation.json").read_text())


# What comes out


@pytest.mark.parametrize("preset", ["paper", pytest.param("released", marks=pytest.mark.slow)])
def test_every_row_is_what_evaluate_gives(
    run, tfsasm, finished, small_weights, tmp_path, preset
):
    _, folder, clips = finished
    if preset == "released":
        folder = tmp_path / "out"
        outcome = run(preset=preset)
        assert outcome.code == 0, outcome.err
    rows = content(folder)["rows"]
    assert list(rows) == LABELS
    for label in LABELS if preset == "released" else LABELS[1:3]:
        wanted = tmp_path / label
        tfsasm("evaluate", "--root", clips, "--weights", small_weights, "--preset", preset,
               "--set", *label.split(","), "--output", wanted, "--quiet")  # fmt: skip
        for name in "abc":
            ours = folder / label / f"{name}.txt"
            assert ours.read_bytes() == (wanted / f"{name}.txt").read_bytes()
        scores = json.loads((wanted / "scores.json").read_text())
        for part in ("combined", "sequences"):
            assert rows[label][part] == scores[part]


def test_the_best_row_is_printed_with_its_gains(finished):
    printed, folder, _ = finished
    found = content(folder)
    scores = {label: row["combined"]["IDF1"] for label, row in found["rows"].items()}
    assert scores[found["best"]] == max(scores.values())
    assert f"best: {found['best']}: IDF1 {max(scores.values()):.2f}" in printed
    assert found["against"] == LABELS[0]
    assert {gain["against"] for gain in found["gains"]} == {LABELS[0]}
    assert len(found["gains"]) == 3 * 3
    assert "the best of 4 is partly the luckiest" in printed


def test_any_row_may_be_compared_against(again, tmp_path):
    assert again("--against", "capacity=3,overlap_with=all").code == 0
    assert content(tmp_path / "out")["against"] == LABELS[2]


@pytest.mark.parametrize("metric", ["DetA", "MOTA"])
def test_the_metric_that_chooses_has_gains_too(again, tmp_path, metric):
    printed = again("--metric", metric).out
    found = content(tmp_path / "out")["gains"]
    assert [gain["metric"] for gain in found] == ["HOTA", "AssA", "IDF1", metric] * 3
    rows = printed.partition(f"gain in {metric}")[2].splitlines()[2:6]
    assert [row.count(" [") for row in rows] == [0, 1, 1, 1]


def test_the_table_has_the_settings_in_columns(finished):
    rows = [line.split() for line in finished[0].splitlines()]
    wanted = ["capacity", "overlap_with", "HOTA"]
    head = next(at for at, row in enumerate(rows) if row[:3] == wanted)
    assert [row[:2] for row in rows[head + 2 : head + 6]] == [
        ["0", "all"], ["0", "tracks"], ["3", "all"], ["3", "tracks"],
    ]  # fmt: skip


def test_a_large_grid_shows_its_best_rows(again, tmp_path):
    outcome = again(more={"shown": 2})
    assert "the best 2 of 4 rows; the files have all" in outcome.out
    assert len(content(tmp_path / "out")["rows"]) == 4


def test_the_csv_has_a_column_per_setting(finished):
    rows = list(csv.DictReader((finished[1] / "ablation.csv").open()))
    assert len(rows) == 4 * 4
    assert [(r["memory.capacity"], r["overlap_with"]) for r in rows if r["sequence"] == "combined"
            ] == [("0", "all"), ("0", "tracks"), ("3", "all"), ("3", "tracks")]  # fmt: skip


def test_scores_are_drawn_where_there_is_more_than_one_row(again, finished, tmp_path):
    printed, folder, _ = finished
    assert f"wrote {folder / 'ablation.png'}" in printed
    assert (folder / "ablation.png").stat().st_size > 10_000
    single = again(grid=["capacity=3", "overlap_with=all"])
    assert single.code == 0
    assert not (tmp_path / "out/ablation.png").exists(), "that of the larger grid is gone"
    assert "ablation.png" not in single.out


@pytest.mark.slow  # the same engine as in `evaluate`
def test_two_workers_give_the_same_files(run, known_weights, tmp_path):
    run(weights=known_weights)
    outcome = run("--workers", 2, output=tmp_path / "two", weights=known_weights)
    assert outcome.code == 0, outcome.err
    assert results(tmp_path / "two") == results(tmp_path / "out")


def test_detections_of_low_score_can_be_left_out(run, finished, tmp_path):
    outcome = run("--min-score", 0.6, "--sequences", "a", grid=GRID[:1])
    assert outcome.code == 0
    few = (tmp_path / "out" / "memory.capacity=3" / "a.txt").read_bytes()
    assert few != (finished[1] / LABELS[2] / "a.txt").read_bytes()
    refused = run("--min-score", 0.5, grid=GRID[:1])
    assert "min_score was 0.6, not 0.5" in refused.err


def test_a_score_below_0_is_left_out_only_if_asked(run, clips, tmp_path):
    boxes = clips / "a" / "det" / "det.txt"
    boxes.write_text(re.sub(r",[^,]+$", ",-0.5", boxes.read_text(), flags=re.MULTILINE))
    for flags in ((), ("--min-score", 0)):
        run("--sequences", "a", *flags, grid=["capacity=0"], output=tmp_path / str(len(flags)))
    assert results(tmp_path / "0") != results(tmp_path / "2")


# What is refused


@pytest.mark.parametrize(("flags", "message"), [
    pytest.param(["--against", "capacity=9"], "no row of the grid with capacity=9", id="no row"),
    pytest.param(["--against", "capacity=0"], "2 rows of the grid with capacity=0", id="two rows"),
    pytest.param(["--grid", "birth_score=0.3"], "may be lifecycle.birth_score or association.birth",
                 id="an unclear name"),
    pytest.param(["--grid", "colour=1"], "no setting 'colour'", id="no such setting"),
    pytest.param(["--detections", "no.json"], "no.json does not exist", id="no boxes"),
    pytest.param(["--workers", "0"], "workers is 0", id="no workers"),
])  # fmt: skip
def test_what_cannot_be_done_is_refused_before_any_work(run, tmp_path, flags, message):
    outcome = run(*flags)
    assert outcome.code == 2
    assert message in outcome.err
    assert not (tmp_path / "out").exists()


def test_what_cannot_begin_removes_nothing(again, tmp_path):
    before = results(tmp_path / "out")
    refused = again("--precision", "fp8", "--overwrite")
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


def test_what_is_finished_is_not_tracked_again(again, tmp_path):
    wanted, scores = results(tmp_path / "out"), content(tmp_path / "out")
    (tmp_path / "out" / LABELS[1] / "b.txt").unlink()
    detector = FolderDetector()
    outcome = again("--metric", "IDF1", more={"detector": detector})
    assert outcome.code == 0
    assert "2 of 3 sequences are done already" in outcome.out
    assert set(detector.names) == {"b"}
    assert "b: 6 frames under 1 row, " in outcome.out
    assert (results(tmp_path / "out"), content(tmp_path / "out")) == (wanted, scores)


def test_a_grid_may_grow(again, tmp_path):
    before = results(tmp_path / "out")
    outcome = again(grid=["capacity=0,1,3", GRID[1]])
    assert outcome.code == 0
    assert outcome.out.count(" frames under 2 rows, ") == 3
    assert before.items() < results(tmp_path / "out").items()
    assert [row["settings"]["memory.capacity"] for row in content(tmp_path / "out")["rows"].values()
            ] == ["0", "0", "1", "1", "3", "3"]  # fmt: skip


def test_another_method_needs_another_folder(again, tmp_path):
    wanted = results(tmp_path / "out")
    refused = again("--set", "report_score=0.6")
    assert refused.code == 2
    assert "by other settings: method.report_score was 0.5, not 0.6" in refused.err
    assert "precision was auto, not bf16" in again("--precision", "bf16").err
    assert results(tmp_path / "out") == wanted
    anew = again("--set", "report_score=0.6", "--overwrite", "--sequences", "a", grid=GRID[1:])
    assert anew.code == 0
    found = results(tmp_path / "out")
    assert "overlap_with=all/a.txt" in found
    assert found["overlap_with=all/a.txt"] != wanted[f"{LABELS[2]}/a.txt"]


def test_a_stopped_run_goes_on_and_ends_alike(run, finished, tmp_path):
    run = functools.partial(run, root=finished[2], metric="IDF1")
    outcome = run(more={"detector": FolderDetector(stop="b")})
    assert outcome.code == 130
    assert "stopped; what is finished is kept" in outcome.out
    assert {name.rpartition("/")[2] for name in results(tmp_path / "out")} == {"a.txt"}
    assert run().code == 0
    assert results(tmp_path / "out") == results(finished[1])
    assert content(tmp_path / "out") == content(finished[1])


def test_a_sequence_that_fails_is_left_out_of_every_row(run, clips, tmp_path):
    image = clips / "b/img1/00000005.png"
    image.write_bytes(image.read_bytes()[:500])
    outcome = run(grid=GRID[:1])
    assert outcome.code == 1
    assert "failed: b: " in outcome.out
    assert "left out: b: " in outcome.out
    found = content(tmp_path / "out")
    assert all(set(row["sequences"]) == {"a", "c"} for row in found["rows"].values())
    assert set(found["left_out"]) == {"b"}


def test_labels_are_names_of_folders():
    assert all(re.fullmatch(r"[\w.,=-]+", label) for label in LABELS)
