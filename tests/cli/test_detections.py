"""`tfsasm detections` as a user gives it."""

import dataclasses
import json

import pytest

from tfsasm.cli import detections

LINE = "1.5,2,30,40.25,0.9\n"
WEAK = "5,6,7,8,0.1\n"
DB = {"DanceTrack/val/a/img1/00000001.txt": [LINE, WEAK], "DanceTrack/val/a/img1/00000002.txt": [],
      "DanceTrack/val/b/img1/00000001.txt": [WEAK]}
IMAGES = {"images": [{"id": n, "file_name": key[15:].replace("txt", "jpg")}
                     for n, key in enumerate(DB, start=1)]}
RESULTS = [{"image_id": image, "category_id": category, "bbox": box[:4], "score": box[4]}
           for image, category, box in (
               (1, 1, [1.5, 2.0, 30.0, 40.25, 0.9]), (1, 3, [5.0, 6.0, 7.0, 8.0, 0.1]),
               (3, 1, [5.0, 6.0, 7.0, 8.0, 0.1]))]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The same boxes in three formats, and the folder to write in."""
    monkeypatch.chdir(tmp_path)
    for name, content in (("db.json", DB), ("images.json", IMAGES), ("coco.json", RESULTS)):
        (tmp_path / name).write_text(json.dumps(content))
    for name, text in (("a", f"1,-1,{LINE}1,-1,{WEAK}"), ("b", f"1,-1,{WEAK}")):
        (tmp_path / "DanceTrack" / "val" / name / "det").mkdir(parents=True)
        (tmp_path / "DanceTrack" / "val" / name / "det" / "det.txt").write_text(text)
    return tmp_path


def read(path):
    return json.loads(path.read_text())


def numbers(table):
    """Keys and boxes, whatever the digits; empty frames do not count."""
    return {key: [[float(field) for field in line.split(",")] for line in lines]
            for key, lines in table.items() if lines}


@pytest.fixture
def run(tfsasm, folder):
    """`tfsasm detections ...`, which is to go well."""

    def go(*words):
        outcome = tfsasm("detections", *words)
        assert outcome.code == 0, outcome
        return outcome.out

    return go


def test_a_det_db_is_copied_byte_by_byte(run, folder):
    assert "read 3 boxes of 3 frames" in run("convert", "db.json", "copy.json")
    assert (folder / "copy.json").read_bytes() == (folder / "db.json").read_bytes()


@pytest.mark.parametrize(("words", "output"), [
    pytest.param(["DanceTrack/val"], "o.json", id="folders of MOT text"),
    pytest.param(["coco.json", "--images", "images.json", "--prefix", "DanceTrack/val"], "o.json",
                 id="COCO results"),
    pytest.param(["db.json"], "o.json", id="itself"),
])
def test_every_format_becomes_the_same_det_db(run, folder, words, output):
    run("convert", *words[:1], output, *words[1:])
    assert numbers(read(folder / output)) == numbers(DB)


@pytest.mark.parametrize("given", ["db.json", "DanceTrack/val"])
def test_every_format_becomes_the_same_results(run, folder, given):
    run("convert", given, "o.json", "--to", "coco", "--images", "images.json")
    assert read(folder / "o.json") == [row | {"category_id": 1} for row in RESULTS]


def test_there_and_back_again(run, folder):
    run("convert", "db.json", "mot")
    assert (folder / "mot" / "a.txt").read_text() == (
        "1,-1,1.5,2,30,40.25,0.9,-1,-1,-1\n1,-1,5,6,7,8,0.1,-1,-1,-1\n")
    run("convert", "mot", "back.json", "--prefix", "DanceTrack/val")
    assert numbers(read(folder / "back.json")) == numbers(DB)


def test_one_sequence_fits_into_one_text(run, folder):
    run("filter", "db.json", "b.txt", "--sequences", "b")
    assert (folder / "b.txt").read_text() == "1,-1,5,6,7,8,0.1,-1,-1,-1\n"


@pytest.mark.parametrize(("words", "wanted"), [
    pytest.param(["--score", "0.5"], [[LINE], [], []], id="score"),
    pytest.param(["--score", "0.1"], [[LINE, WEAK], [], [WEAK]], id="the very score"),
    pytest.param(["--min-height", "9"], [[LINE], [], []], id="height"),
    pytest.param(["--min-width", "31"], [[], [], []], id="width"),
    pytest.param(["--min-area", "56"], [[LINE, WEAK], [], [WEAK]], id="area"),
    pytest.param(["--sequences", "a"], [[LINE, WEAK], []], id="a sequence"),
])
def test_filtering_keeps_frames_and_text(run, folder, words, wanted):
    run("filter", "db.json", "o.json", *words)
    assert list(read(folder / "o.json").values()) == wanted


def test_results_are_filtered_by_class_and_stay_results(run, folder):
    run("filter", "coco.json", "o.json", "--categories", "1")
    assert read(folder / "o.json") == [RESULTS[0], RESULTS[2]]


def test_what_belongs_together_is_merged(run, folder):
    half = dict(list(DB.items())[:2])
    (folder / "half.json").write_text(json.dumps(half))
    out = run("merge", "half.json", "DanceTrack/val", "--output", "o.json", "--prefix",
              "DanceTrack/val")
    assert numbers(read(folder / "o.json")) == numbers(DB)
    assert "1 frames were in several inputs, with the same boxes" in out


def test_frames_that_differ_stop_a_merge_unless_the_first_counts(run, tfsasm, folder):
    (folder / "other.json").write_text(json.dumps(DB | {next(iter(DB)): [WEAK]}))
    words = ["detections", "merge", "db.json", "other.json", "--output", "o.json"]
    outcome = tfsasm(*words)
    assert outcome.code == 2
    assert "other.json: an earlier input has other boxes for DanceTrack/val/a/img1/0" in outcome.err
    assert not (folder / "o.json").exists()
    out = run(*words[1:], "--clash", "first")
    assert "1 frames were in several inputs, with other boxes; the first's were kept" in out
    assert read(folder / "o.json") == DB


@pytest.mark.parametrize(("old", "new", "key"), [
    pytest.param("DanceTrack/val", "set", "set/a/img1/00000001.txt", id="another"),
    pytest.param("DanceTrack", "", "val/a/img1/00000001.txt", id="none"),
    pytest.param("", "data", "data/DanceTrack/val/a/img1/00000001.txt", id="more"),
    pytest.param("/DanceTrack/", "X/", "X/val/a/img1/00000001.txt", id="slashes at the ends"),
])
def test_keys_get_another_beginning(run, folder, old, new, key):
    run("rekey", "db.json", "o.json", "--old", old, "--new", new)
    table = read(folder / "o.json")
    assert next(iter(table)) == key
    assert list(table.values()) == list(DB.values())


def test_keys_with_another_beginning_are_counted(run, folder):
    out = run("rekey", "db.json", "o.json", "--old", "DanceTrack/val/a", "--new", "x")
    assert "1 keys do not begin with 'DanceTrack/val/a' and stay" in out
    assert list(read(folder / "o.json"))[1:] == ["x/img1/00000002.txt", *list(DB)[2:]]


def test_bad_lines_are_counted_when_left_out(run, folder):
    (folder / "bad.json").write_text(json.dumps({"a/1.txt": [LINE, "bad", "worse"]}))
    out = run("convert", "bad.json", "o.json", "--skip-bad-detections")
    assert "2 bad detection line(s) left out, the first: bad.json, key 'a/1.txt', line 2" in out
    assert read(folder / "o.json") == {"a/1.txt": [LINE]}


@pytest.mark.parametrize(("words", "problem"), [
    pytest.param("convert lost.json o.json", "cannot read lost.json", id="no input"),
    pytest.param("convert db.json db.json", "db.json is an input", id="the input itself"),
    pytest.param("convert db.json images.json", "images.json exists", id="an output that exists"),
    pytest.param("convert db.json o.csv", "give a .txt, a folder, or a .json", id="another suffix"),
    pytest.param("convert db.json o.txt", "holds one sequence, and there are more", id="too many"),
    pytest.param("convert db.json o.txt --to det_db", "det_db is JSON", id="JSON as text"),
    pytest.param("convert coco.json o --to mot", "name them with --images", id="no names"),
    pytest.param("convert db.json o.json --to coco", "with --images", id="no ids"),
    pytest.param("convert coco.json o.json --images db.json", "has no images", id="no table"),
    pytest.param("merge --output o.json", "give each input", id="nothing to merge"),
    pytest.param("merge db.json db.json --output o.json", "and once", id="one file twice"),
    pytest.param("filter db.json o.json --sequences a c d", "has no sequence c, d", id="no such"),
    pytest.param("filter db.json o.json --categories 1", "have a class; leave --categories away",
                 id="no classes"),
    pytest.param("rekey db.json o.json --old X --new Y", "no key begins with 'X'", id="no key"),
    pytest.param("rekey db.json o.json --old DanceTrack/val/b --new DanceTrack/val/a",
                 "is there twice", id="keys that meet"),
    pytest.param("rekey coco.json o.json --old X --new Y", "which have no keys", id="no keys"),
])
def test_what_cannot_be_done_is_explained_and_leaves_nothing(tfsasm, folder, words, problem):
    before = {path.name for path in folder.iterdir()}
    outcome = tfsasm("detections", *words.split())
    assert outcome.code == 2
    assert problem in outcome.err
    assert "Traceback" not in outcome.err
    assert {path.name for path in folder.iterdir() if path.name != "o"} == before


TOOLS = {"convert": detections.ConvertDetections, "merge": detections.MergeDetections,
         "filter": detections.FilterDetections, "rekey": detections.RekeyDetections}


FROZEN = {
    "convert": "skip_bad_detections overwrite to images category prefix digits input output",
    "merge": "skip_bad_detections overwrite to images category prefix digits inputs output clash",
    "filter": (
        "skip_bad_detections overwrite input output score min_width min_height min_area categories "
        "sequences"
    ),
    "rekey": "skip_bad_detections overwrite input output old new",
}


@pytest.mark.parametrize("tool", TOOLS)
def test_options_are_a_promise(tool):
    """Scripts depend on these names. Adding one is fine; say so here."""
    assert [field.name for field in dataclasses.fields(TOOLS[tool])] == FROZEN[tool].split()


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_explains_itself_with_an_example(tfsasm, tool):
    outcome = tfsasm("detections", tool, "--help")
    assert outcome.code == 0
    assert f"Example: tfsasm detections {tool}" in TOOLS[tool].__doc__


def test_the_examples_work_as_they_stand(tfsasm, folder):
    (folder / "DanceTrack" / "val").rename(folder / "clips")
    for tool in ("convert", "filter", "rekey", "merge"):  # each takes what came before
        (line,) = [x for x in TOOLS[tool].__doc__.splitlines() if "Example:" in x]
        outcome = tfsasm(*line.split("Example: tfsasm ")[1].split())
        assert outcome.code == 0, outcome
