"""CrowdHuman annotations: one JSON object per line."""

import json

import pytest

from tfsasm.datasets.crowdhuman import find_annotations, find_image, read_odgt
from tfsasm.errors import InputError


def person(*fbox, tag="person", **extra):
    return {"tag": tag, "fbox": list(fbox), "hbox": [0, 0, 1, 1], "extra": extra}


def write(path, *entries):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def test_people_masks_and_marks(tmp_path):
    boxes = [
        person(-5, 2, 30, 40, box_id=0), person(0, 0, 9, 9, tag="mask", ignore=1),
        person(1, 2, 3, 4, ignore=0), {"tag": "person", "fbox": [1, 1, 2, 2]},
    ]  # fmt: skip
    path = write(tmp_path / "x.odgt", {"ID": "27,a", "gtboxes": boxes}, {"ID": "b", "gtboxes": []})
    first, second = read_odgt(path)
    assert (first.name, len(first)) == ("27,a", 4)
    assert first.ltwh.tolist()[0] == [-5, 2, 30, 40]
    assert first.tags == ("person", "mask", "person", "person")
    assert first.ignored.tolist() == [False, True, False, False]
    assert (len(second), second.ltwh.shape) == (0, (0, 4))


@pytest.mark.parametrize(("line", "problem"), [
    pytest.param('{"ID":', r"x\.odgt:2:7: not valid JSON: it ends too early", id="cut off"),
    pytest.param("[]", r"x\.odgt:2: ", id="a list"),
    pytest.param('{"gtboxes": []}', r"x\.odgt:2: ID is missing", id="no name"),
    pytest.param('{"ID": "a"}', "gtboxes is missing", id="no boxes"),
    pytest.param('{"ID": "a", "gtboxes": [{"tag": "person"}]}', "fbox is missing", id="no box"),
    pytest.param(
        '{"ID": "a", "gtboxes": [{"tag": "person", "fbox": [1, 2, 3]}]}',
        r"the fbox of box 0 is \[1, 2, 3\], not 4 numbers", id="three numbers"),
    pytest.param(
        '{"ID": "a", "gtboxes": [{"tag": "person", "fbox": [1, 2, NaN, 4]}]}',
        "not 4 numbers", id="NaN"),
])  # fmt: skip
def test_a_bad_line_is_named(tmp_path, line, problem):
    path = tmp_path / "x.odgt"
    path.write_text('{"ID": "a", "gtboxes": []}\n' + line + "\n")
    with pytest.raises(InputError, match=problem):
        list(read_odgt(path))


def test_files_are_found_by_split(tmp_path):
    for split in ("train", "val"):
        write(tmp_path / f"annotation_{split}.odgt")
    found = find_annotations(tmp_path)
    assert [path.name for path in found] == ["annotation_train.odgt", "annotation_val.odgt"]
    assert find_annotations(tmp_path, "val") == found[1:]
    with pytest.raises(InputError, match=r"no annotation_test\.odgt in"):
        find_annotations(tmp_path, "test")


@pytest.mark.parametrize("folder", ["Images", "CrowdHuman_train01/Images"])
def test_images_are_found_in_either_layout(tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "27,a.jpg").write_bytes(b"")
    assert find_image(tmp_path, "27,a") == tmp_path / folder / "27,a.jpg"
    assert find_image(tmp_path, "28,b") is None
