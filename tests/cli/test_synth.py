"""`tfsasm synth`: the sequences that were wanted, and none that exist are lost."""

import cv2

SIZE = ("--frames", 4, "--width", 96, "--height", 64)


def test_sequences_of_the_given_number_length_and_size_are_written(tfsasm, tmp_path):
    outcome = tfsasm("synth", "--output", tmp_path, "--sequences", 2, "--seed", 5, *SIZE)
    assert outcome.code == 0, outcome.err
    assert "wrote 2 sequences of 4 frames" in outcome.out
    folders = sorted(tmp_path.iterdir())
    assert [folder.name for folder in folders] == ["synthetic-5-0000", "synthetic-5-0001"]
    for folder in folders:
        images = [cv2.imread(str(path)) for path in sorted((folder / "img1").iterdir())]
        assert [image.shape for image in images] == [(64, 96, 3)] * 4


def test_sequences_that_exist_are_replaced_only_if_wanted(tfsasm, tmp_path):
    def synth(*flags):
        return tfsasm("synth", "--output", tmp_path, "--sequences", 1, *SIZE, *flags)

    assert synth().code == 0
    (tmp_path / "synthetic-0-0000" / "mark").touch()
    outcome = synth()
    assert outcome.code == 2
    assert "already has synthetic-0-0000" in outcome.err
    assert (tmp_path / "synthetic-0-0000" / "mark").exists()
    assert synth("--overwrite").code == 0
    assert not (tmp_path / "synthetic-0-0000" / "mark").exists()


def test_impossible_settings_are_refused(tfsasm, tmp_path):
    (tmp_path / "file").touch()
    outcome = tfsasm("synth", "--output", tmp_path / "file", "--sequences", 1)
    assert outcome.code == 2
    assert "cannot write in" in outcome.err
    outcome = tfsasm("synth", "--output", tmp_path / "out", "--width", 3)
    assert outcome.code == 2
    assert "width and height must be at least 8" in outcome.err
