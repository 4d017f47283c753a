"""`tfsasm verify`: one table for a checkpoint, and an end that scripts can rely on."""

import json

import pytest

from helpers.scenes import write_folders


@pytest.fixture
def verify(tfsasm, small_weights):
    def run(*flags, variants="exact,plain,fast-fp32"):
        return tfsasm(
            "verify", "--weights", small_weights, "--frames", 3, "--variants", variants, *flags
        )

    return run


def test_ways_that_agree_end_well(verify, tmp_path):
    outcome = verify("--json", tmp_path / "v.json")
    assert outcome.code == 0, outcome.out
    assert outcome.out.count("agrees") == 3
    assert "SHA-256 " in outcome.out
    found = json.loads((tmp_path / "v.json").read_text())
    assert [variant["verdict"] for variant in found["variants"]] == ["agrees"] * 3
    assert all(variant["boxes"] for variant in found["variants"])
    assert len(found["sha256"]) == 64


def test_a_data_set_may_be_what_is_tracked(verify, scene, tmp_path):
    clips = write_folders(scene, tmp_path / "clips")
    outcome = verify("--root", clips, "--dataset", "mot", variants="exact,fast-fp32")
    assert outcome.code == 0, outcome.out + outcome.err
    assert outcome.out.count("agrees") == 2


@pytest.mark.parametrize(("flags", "message"), [
    (["--variants", "exact,slow"], "--variants has plain, exact"),
    (["--frames", 0], "--frames 0 is not at least 1"),
    (["--detections", "x.json"], "--detections are of the sequence in --root"),
    (["--root", "nowhere"], "nowhere"),
    (["--weights", "lost.pth"], "no checkpoint at lost.pth"),
])  # fmt: skip
def test_what_cannot_be_verified_is_one_error(tfsasm, flags, message):
    outcome = tfsasm("verify", "--weights", "tiny", *flags)
    assert outcome.code == 2
    assert message in outcome.err
