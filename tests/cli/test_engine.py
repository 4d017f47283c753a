"""Commands over data sets on a Ray cluster: the bytes of one process."""

import pytest

from helpers.commands import run_command
from helpers.finders import Finder, pictures
from helpers.scenes import write_images

pytestmark = pytest.mark.ray


def results(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.txt")}


@pytest.mark.parametrize("words", [
    pytest.param(["evaluate", "--tracker", "appearance"], id="evaluate"),
    pytest.param(["evaluate", "--weights", "WEIGHTS"], id="evaluate by weights"),
    pytest.param(["ablate", "--weights", "WEIGHTS", "--grid", "capacity=0,2"], id="ablate"),
    pytest.param(["compare", "--trackers", "appearance,motion"], id="compare"),
])  # fmt: skip
def test_a_command_writes_on_ray_what_it_writes_alone(
    ray_cluster, tfsasm, clips, known_weights, tmp_path, words
):
    words = [known_weights if word == "WEIGHTS" else word for word in words]
    given = ("--root", clips, "--quiet")
    outcome = tfsasm(*words, *given, "--output", tmp_path / "alone")
    assert outcome.code == 0, outcome.err
    outcome = tfsasm(*words, *given, "--output", tmp_path / "ray", "--engine", "ray")
    assert outcome.code == 0, outcome.err
    assert results(tmp_path / "ray") == results(tmp_path / "alone") != {}


def test_detect_finds_on_ray_what_it_finds_alone(ray_cluster, tmp_path):
    folder = tmp_path / "clips" / "all"
    for seed, name in enumerate(("one", "two"), start=1):
        write_images(folder / name / "img1", pictures(4, seed))
        (folder / name / "seqinfo.ini").write_text(
            f"[Sequence]\nname={name}\nimDir=img1\nframeRate=20\nseqLength=4\n"
            "imWidth=64\nimHeight=48\nimExt=.png\n"
        )
    words = ["detect", "--detector", "yolox-nano", "--dataset", "mot", "--root", folder]
    for output, engine in (("alone.json", "processes"), ("ray.json", "ray")):
        outcome = run_command(
            *words, "--output", tmp_path / output, "--engine", engine, detector=Finder()
        )
        assert outcome.code == 0, outcome
    assert (tmp_path / "ray.json").read_bytes() == (tmp_path / "alone.json").read_bytes()
