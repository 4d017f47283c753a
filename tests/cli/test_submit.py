import json
import zipfile

import pytest

from tfsasm.datasets.bdd100k import read_scalabel
from tfsasm.evaluation.submission import SERVERS

LINE = "1,1,10.50,20,30,40.00,0.9,-1,-1,-1\n"
INFO = "[Sequence]\nname=x\nimDir=img1\nframeRate=25\nseqLength={}\nimWidth=640\nimHeight=480\n"
DANCERS = list(SERVERS["dancetrack"].wanted)


def fill(folder, names, text=LINE):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.txt").write_text(text)
    return folder


def contents(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


@pytest.fixture
def submit(tfsasm, tmp_path):
    def run(dataset, *flags):
        results, output = tmp_path / "results", tmp_path / "out.zip"
        return tfsasm(
            "submit", "--dataset", dataset, "--results", results, "--output", output, *flags
        )

    return run


@pytest.mark.parametrize(("dataset", "names", "inside"), [
    pytest.param("dancetrack", DANCERS, [f"tracker/{name}.txt" for name in DANCERS],
                 id="DanceTrack wants a folder called tracker"),
    pytest.param("mot20", ["MOT20-04", "MOT20-06", "MOT20-07", "MOT20-08"],
                 ["MOT20-04.txt", "MOT20-06.txt", "MOT20-07.txt", "MOT20-08.txt"],
                 id="MOT20 wants files"),
    pytest.param("sportsmot", list(SERVERS["sportsmot"].wanted),
                 [f"{name}.txt" for name in sorted(SERVERS["sportsmot"].wanted)],
                 id="SportsMOT wants files"),
])
def test_the_zip_has_what_the_server_wants(submit, tmp_path, dataset, names, inside):
    fill(tmp_path / "results", names)
    outcome = submit(dataset)
    assert outcome.code == 0, outcome.err
    assert f"with {len(inside)} files" in outcome.out
    assert contents(tmp_path / "out.zip") == dict.fromkeys(inside, LINE)
    assert ("is not known" in outcome.out) == (dataset != "mot20"), "whose lengths are known"


VIDEOS = ["MOT17-01", "MOT17-03", "MOT17-06", "MOT17-07", "MOT17-08", "MOT17-12", "MOT17-14"]


@pytest.mark.parametrize("suffix", ["", "-FRCNN", "-SDP"])
def test_a_mot17_result_goes_under_three_names(submit, tmp_path, suffix):
    fill(tmp_path / "results", [f"{video}{suffix}" for video in VIDEOS])
    assert submit("mot17").code == 0
    inside = contents(tmp_path / "out.zip")
    assert len(inside) == 21
    assert {f"MOT17-01-{detector}.txt" for detector in ("DPM", "FRCNN", "SDP")} <= set(inside)
    assert set(inside.values()) == {LINE}


def test_three_mot17_results_keep_their_names(submit, tmp_path):
    fill(tmp_path / "results", VIDEOS[1:])
    for detector in ("DPM", "FRCNN", "SDP"):
        line = LINE.replace("0.9", f"0.{len(detector)}")
        fill(tmp_path / "results", [f"MOT17-01-{detector}"], line)
    assert submit("mot17").code == 0
    inside = contents(tmp_path / "out.zip")
    assert len(inside) == 21
    assert "0.5" in inside["MOT17-01-FRCNN.txt"]
    (tmp_path / "results" / "MOT17-01-SDP.txt").unlink()
    outcome = submit("mot17", "--overwrite")
    assert outcome.code == 2
    assert "there is MOT17-01-DPM and MOT17-01-FRCNN; give one result or three" in outcome.err


def test_training_sequences_may_come_along_all_or_none(submit, tmp_path):
    fill(tmp_path / "results", ["MOT20-04", "MOT20-06", "MOT20-07", "MOT20-08", "MOT20-01"])
    assert "no result for MOT20-02, MOT20-03, MOT20-05" in submit("mot20").err
    fill(tmp_path / "results", ["MOT20-02", "MOT20-03", "MOT20-05"])
    assert submit("mot20").code == 0
    assert len(contents(tmp_path / "out.zip")) == 8


def test_the_same_results_give_the_same_bytes(submit, tmp_path):
    fill(tmp_path / "results", DANCERS)
    assert submit("dancetrack").code == 0
    first = (tmp_path / "out.zip").read_bytes()
    for name in reversed(DANCERS):
        (tmp_path / "results" / f"{name}.txt").touch()
    refused = submit("dancetrack")
    assert refused.code == 2
    assert "out.zip exists" in refused.err
    assert submit("dancetrack", "--overwrite").code == 0
    assert (tmp_path / "out.zip").read_bytes() == first


@pytest.mark.parametrize(("line", "written"), [
    pytest.param("1,1,1,1,9,9", "1,1,1,1,9,9,1,-1,-1,-1", id="boxes alone"),
    pytest.param("1,1,1,1,9,9,0.5", "1,1,1,1,9,9,0.5,-1,-1,-1", id="no class"),
    pytest.param("1, 1, 1.250, 1,9,9,1,1,1", "1,1,1.250,1,9,9,1,1,1,-1", id="numbers as written"),
    pytest.param("1,1,1,1,9,9,1,-1,-1,-1,", "1,1,1,1,9,9,1,-1,-1,-1", id="a comma at the end"),
    pytest.param("1 1\t1 1  9 9 0.5", "1,1,1,1,9,9,0.5,-1,-1,-1", id="between spaces"),
    pytest.param("1;1;1,25;1;9;9", "1,1,1.25,1,9,9,1,-1,-1,-1", id="between semicolons"),
])
def test_lines_get_their_ten_columns(submit, tmp_path, line, written):
    fill(tmp_path / "results", DANCERS, f"{line}\r\n\r\n")
    assert submit("dancetrack").code == 0
    assert set(contents(tmp_path / "out.zip").values()) == {f"{written}\n"}


@pytest.mark.parametrize(("text", "message"), [
    pytest.param("1,1,1,1,9\n", "dancetrack0009.txt:1: too few fields", id="too few columns"),
    pytest.param("1,1,1,1,nan,9\n", "dancetrack0009.txt:1: width 'nan' is not finite", id="NaN"),
    pytest.param(LINE + LINE, "dancetrack0009.txt has id 1 twice in frame 1", id="an id twice"),
    pytest.param("0,1,1,1,9,9\n", "frame '0' is below 1", id="frames from 0"),
    pytest.param("3,-1,1,1,9,9\n", "has id -1 in frame 3", id="a detection"),
    pytest.param("3,1,1,1,9,9,1,3,-1,-1\n", "another class than a pedestrian in", id="a car"),
])
def test_results_that_a_server_would_refuse_are_refused_here(submit, tmp_path, text, message):
    fill(tmp_path / "results", DANCERS)
    (tmp_path / "results" / "dancetrack0009.txt").write_text(text)
    outcome = submit("dancetrack")
    assert outcome.code == 2
    assert message in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["results"], "no zip, not even a part"


def test_frames_after_the_end_are_found_where_the_length_is_known(submit, tmp_path):
    fill(tmp_path / "results", ["MOT20-04", "MOT20-06", "MOT20-07", "MOT20-08"])
    (tmp_path / "results" / "MOT20-07.txt").write_text("586,1,1,1,9,9\n")
    assert "MOT20-07.txt has frame 586, but the frames are 1 to 585" in submit("mot20").err
    fill(tmp_path / "results", DANCERS, "9,1,1,1,9,9\n")
    for name in SERVERS["mot20"].wanted:
        (tmp_path / "results" / f"{name}.txt").unlink()
    for name in DANCERS:
        (tmp_path / "test" / name).mkdir(parents=True)
        (tmp_path / "test" / name / "seqinfo.ini").write_text(INFO.format(8 if "91" in name else 9))
    outcome = submit("dancetrack", "--root", tmp_path / "test")
    assert "dancetrack0091.txt has frame 9, but the frames are 1 to 8" in outcome.err
    (tmp_path / "test" / "dancetrack0091" / "seqinfo.ini").write_text(INFO.format(9))
    outcome = submit("dancetrack", "--root", tmp_path / "test")
    assert (outcome.code, "not known" in outcome.out) == (0, False), outcome.err


def test_every_bad_file_is_named(submit, tmp_path):
    fill(tmp_path / "results", DANCERS, "1,2\n")
    outcome = submit("dancetrack").err
    assert "dancetrack0003.txt:1: too few fields" in outcome
    assert " and 30 more" in outcome


@pytest.mark.parametrize(("flags", "message"), [
    pytest.param(["--output", "out.tar"], "does not end in .zip", id="no zip"),
    pytest.param(["--results", "nowhere"], "no result files NAME.txt in nowhere", id="no results"),
    pytest.param(["--root", "nowhere"], "nowhere", id="no data set"),
])
def test_bad_requests_are_refused(submit, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "results", DANCERS)
    outcome = submit("dancetrack", *flags)
    assert outcome.code == 2
    assert message in outcome.err


# BDD100K

FRAMES = [
    {"name": f"b1-a-{n + 1:07d}.jpg", "videoName": "b1-a", "frameIndex": n, "labels": labels}
    for n, labels in enumerate([
        [{"id": "7", "category": "car", "score": 0.5,
          "box2d": {"x1": 1.5, "y1": 2, "x2": 11.25, "y2": 22}}], [],
    ])
]  # fmt: skip


def test_bdd100k_results_become_scalabel_with_every_frame(submit, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "b1-a.json").write_text(json.dumps(FRAMES))
    outcome = submit("bdd100k")
    assert outcome.code == 0, outcome.err
    inside = contents(tmp_path / "out.zip")
    assert list(inside) == ["b1-a.json"]
    [first, second] = json.loads(inside["b1-a.json"])
    assert (second["name"], second["labels"]) == ("b1-a-0000002.jpg", [])
    assert (first["videoName"], first["frameIndex"]) == ("b1-a", 0)
    assert first["labels"] == [
        {"id": "7", "category": "car", "box2d": {"x1": 1.5, "y1": 2.0, "x2": 11.25, "y2": 22.0}}
    ]
    (tmp_path / "b1-a.json").write_text(inside["b1-a.json"])
    assert len(read_scalabel(tmp_path / "b1-a.json")["b1-a"]) == 2, "and it reads"


def test_bdd100k_text_needs_the_lengths(submit, tmp_path):
    fill(tmp_path / "results", ["b1-a"], "2,4,10,20,30,40,1,3,-1,-1\n1,4,10,20,30,40\n")
    outcome = submit("bdd100k")
    assert outcome.code == 2
    assert "the number of frames of b1-a is unknown; give --root" in outcome.err
    for number in (1, 2, 3):
        image = tmp_path / "test" / "b1-a" / f"b1-a-{number:07d}.jpg"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(b"")
    outcome = submit("bdd100k", "--root", tmp_path / "test")
    assert outcome.code == 0, outcome.err
    frames = json.loads(contents(tmp_path / "out.zip")["b1-a.json"])
    assert [[label["category"] for label in frame["labels"]] for frame in frames] == [
        ["pedestrian"], ["car"], [],
    ]  # fmt: skip
    (tmp_path / "test" / "b1-b").mkdir()
    (tmp_path / "test" / "b1-b" / "b1-b-0000001.jpg").write_bytes(b"")
    outcome = submit("bdd100k", "--root", tmp_path / "test", "--overwrite")
    assert "no result for b1-b" in outcome.err


@pytest.mark.parametrize(("change", "message"), [
    pytest.param(lambda f: f[0]["labels"][0].update(category="dog"), "'dog', which is none of",
                 id="no such class"),
    pytest.param(lambda f: f[0]["labels"][0].update(category="trailer"), "'trailer', which is none",
                 id="a class to be ignored"),
    pytest.param(lambda f: f.pop(0), "has 1 frames up to frameIndex 1", id="a frame is missing"),
    pytest.param(lambda f: f[0]["labels"][0]["box2d"].update(x2="wide"), "is not four numbers|wide",
                 id="no number"),
])
def test_bad_scalabel_is_named(submit, tmp_path, change, message):
    frames = json.loads(json.dumps(FRAMES))
    change(frames)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "b1-a.json").write_text(json.dumps(frames))
    outcome = submit("bdd100k")
    assert outcome.code == 2
    assert "b1-a.json" in outcome.err
    assert any(part in outcome.err for part in message.split("|"))
