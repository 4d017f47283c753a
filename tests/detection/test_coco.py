"""COCO results and their table of images."""

import json

import pytest

from tfsasm.detection.coco import CocoImages, read_coco, write_coco
from tfsasm.detection.formats import Reading
from tfsasm.errors import InputError

IMAGES = {"images": [
    {"id": 7, "file_name": "dance1/img1/00000001.jpg", "frame_id": 1},
    {"id": 8, "file_name": "dance1/img1/00000002.jpg"},
    {"id": 3, "file_name": "dance2/img1/00000001.jpg"},
], "annotations": []}


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def images(tmp_path):
    return CocoImages(write(tmp_path / "val.json", IMAGES), "DanceTrack/val")


def result(image, left=1.0, score=0.5, category=1, **more):
    return {"image_id": image, "category_id": category, "bbox": [left, 2.0, 3.0, 4.5],
            "score": score} | more


def test_results_in_any_order_come_out_image_by_image(tmp_path, images):
    rows = [result(3, 30), result(7, 70), result(3, 31, category=2), result(7, 71)]
    found = list(read_coco(write(tmp_path / "r.json", rows), Reading(), images))
    assert [(one.key, one.boxes[:, 0].tolist(), one.categories) for one in found] == [
        ("DanceTrack/val/dance1/img1/00000001.txt", [70, 71], [1, 1]),
        ("DanceTrack/val/dance1/img1/00000002.txt", [], []),
        ("DanceTrack/val/dance2/img1/00000001.txt", [30, 31], [1, 2]),
    ]
    assert found[0].lines == ["70.0,2.0,3.0,4.5,0.5\n", "71.0,2.0,3.0,4.5,0.5\n"]


def test_without_a_table_the_ids_are_the_keys_and_come_back(tmp_path):
    rows = [result("b"), result(12, category=3), result("b", 9)]
    found = list(read_coco(write(tmp_path / "r.json", rows), Reading(), None))
    assert [one.key for one in found] == ['"b"', "12"]
    assert write_coco(tmp_path / "w.json", found, None, category=99) == 3
    assert json.loads((tmp_path / "w.json").read_text()) == [rows[0], rows[2], rows[1]]


def test_boxes_without_a_class_get_the_one_that_is_asked_for(tmp_path, images):
    found = [one._replace(categories=None) for one in read_coco(
        write(tmp_path / "r.json", [result(8)]), Reading(), images)]
    write_coco(tmp_path / "w.json", found, images, category=17)
    assert json.loads((tmp_path / "w.json").read_text()) == [result(8, category=17)]


def test_no_results_are_an_empty_list(tmp_path, images):
    assert list(read_coco(write(tmp_path / "r.json", []), Reading(), None)) == []
    assert write_coco(tmp_path / "w.json", [], images, 1) == 0
    assert json.loads((tmp_path / "w.json").read_text()) == []


@pytest.mark.parametrize(("key", "identity"), [
    pytest.param("DanceTrack/val/dance1/img1/00000002.txt", 8, id="whole"),
    pytest.param("dance1/img1/00000002.jpg", 8, id="shorter"),
    pytest.param("/data/x/dance2/img1/00000001.txt", 3, id="another root"),
])
def test_a_key_finds_its_image(images, key, identity):
    assert images.identity(key) == identity


def test_a_key_of_no_image_is_named(images):
    with pytest.raises(InputError, match=r"dance9/img1/1\.txt is not among the images of .*val"):
        images.identity("dance9/img1/1.txt")


BAD = [
    pytest.param(3, "it is 3; wanted is", id="a number"),
    pytest.param({}, "image_id is missing", id="nothing"),
    pytest.param(result([1]), r"image_id is \[1\], not text", id="a list for an image"),
    pytest.param(result(7, category="dog"), 'category_id is "dog", not a', id="a word"),
    pytest.param(result(7, bbox=[1, 2, 3]), r"bbox is \[1, 2, 3\], not", id="three numbers"),
    pytest.param(result(7, bbox=[1, 2, 3, "4"]), 'height is "4", not a number', id="text"),
    pytest.param(result(7, bbox=[1, 2, True, 4]), "width is true, not a number", id="true"),
    pytest.param(result(7, bbox=[1e300, 2, 3, 4]), "left is 1e[+]300, not a number", id="huge"),
    pytest.param(result(7, segmentation=[[1, 2]], bbox=None), "bbox is null, not a list",
                 id="no box beside other fields"),
    pytest.param(result(7, bbox=[1, 2, 0, 4]), "width is 0, not positive", id="no width"),
    pytest.param(result(7, score=None), "score is null, not", id="no score"),
    pytest.param(result(99), "image_id 99 is not in the table", id="an unknown image"),
]


@pytest.mark.parametrize(("row", "problem"), BAD)
def test_a_bad_result_is_named_and_can_be_left_out(tmp_path, images, row, problem):
    path = write(tmp_path / "r.json", [result(7), row, result(8)])
    with pytest.raises(InputError, match=rf"r\.json, item 2: {problem}"):
        list(read_coco(path, Reading(), images))
    reading = Reading(skip_bad=True)
    found = list(read_coco(path, reading, images))
    assert [len(one.boxes) for one in found] == [1, 1, 0]
    assert reading.skipped.count == 1
    assert reading.skipped.places == (f"{path}, item 2",)


@pytest.mark.parametrize(("content", "problem"), [
    pytest.param("", "premature EOF", id="empty"),
    pytest.param("{}", "is not COCO results", id="an object"),
    pytest.param('[{"image_id": 7', "premature EOF", id="cut off"),
    pytest.param('[{"score": NaN}]', "not valid JSON", id="NaN"),
    pytest.param("[1e999]", "overflow", id="beyond a double"),
    pytest.param("[" * 100_000, "more than 50 lists", id="too deep"),
])
def test_damaged_results_are_refused_in_one_line(tmp_path, content, problem):
    path = write(tmp_path / "r.json", content)
    with pytest.raises(InputError, match=problem) as caught:
        list(read_coco(path, Reading(skip_bad=True), None))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("content", "problem"), [
    pytest.param("{", "t.json:1:2: not valid JSON: it ends too early", id="damaged"),
    pytest.param({}, "has no images", id="none"),
    pytest.param([], "has no images", id="an empty list"),
    pytest.param([3], "image 1 needs an id and a file_name; 3 is not an object", id="no object"),
    pytest.param([{"id": 1}], "image 1 needs an id and a file_name", id="no name"),
    pytest.param([{"id": 1, "file_name": "a/1.jpg"}, {"id": 1, "file_name": "a/2.jpg"}],
                 r"image 2 \(a/2.jpg, id 1\) is there twice", id="an id twice"),
    pytest.param([{"id": 1, "file_name": "a/1.jpg"}, {"id": 2, "file_name": "./a/1.png"}],
                 "image 2 .* is there twice", id="a name twice"),
])
def test_a_table_that_cannot_be_used_is_refused(tmp_path, content, problem):
    with pytest.raises(InputError, match=problem):
        CocoImages(write(tmp_path / "t.json", content))
