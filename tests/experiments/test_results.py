"""Results of one set of settings per folder, kept over a kill."""

import json
import os
from pathlib import Path

import pytest

from tfsasm.errors import InputError
from tfsasm.evaluation.result_files import RECORD, SCORES, result_file
from tfsasm.experiments.results import claim, claim_all, detections_setting, model_settings
from tfsasm.files import partial_path

SETTINGS = {"preset": "paper", "method": {"memory": {"capacity": 10}}, "sizes": (1, 2)}


@pytest.fixture
def folder(tmp_path):
    """Of a run that has finished `a` of `a` and `b`."""
    place = tmp_path / "results"
    assert claim(place, SETTINGS, ["a", "b"]) == set()
    result_file(place, "a").write_text("done")
    return place


def changed(**changes):
    return SETTINGS | changes


def test_what_is_finished_is_kept(folder):
    assert claim(folder, SETTINGS, ["a", "b"]) == {"a"}
    assert claim(folder, SETTINGS, ["b", "c"]) == set()
    assert result_file(folder, "a").read_text() == "done"
    assert json.loads((folder / RECORD).read_text())["sequences"] == ["a", "b", "c"]


@pytest.mark.parametrize(("settings", "message"), [
    pytest.param(changed(preset="released"), "preset was paper, not released", id="a word"),
    pytest.param(changed(method={"memory": {"capacity": 0}}),
                 "method.memory.capacity was 10, not 0", id="inside"),
    pytest.param(changed(extra=1), "extra was nothing, not 1", id="a new one"),
    pytest.param({"preset": "paper"}, "method.memory.capacity was 10, not nothing", id="gone"),
    pytest.param(changed(**{f"x{n}": n for n in range(8)}), "x4 was nothing, not 4 and 3 more",
                 id="many"),
])  # fmt: skip
def test_other_settings_are_refused_and_named(folder, settings, message):
    before = (folder / RECORD).read_text()
    with pytest.raises(InputError, match="has results by other settings: ") as refusal:
        claim(folder, settings, ["a", "b"])
    assert message in str(refusal.value)
    assert "another --output, or --overwrite to start over" in str(refusal.value)
    assert (folder / RECORD).read_text() == before
    assert result_file(folder, "a").exists()


def test_settings_may_change_as_long_as_nothing_is_finished(folder):
    result_file(folder, "a").unlink()
    assert claim(folder, changed(preset="released"), ["a"]) == set()
    assert json.loads((folder / RECORD).read_text())["settings"]["preset"] == "released"


def test_starting_anew_removes_what_was_made_here_and_nothing_else(folder):
    (folder / SCORES).write_text("{}")
    (folder / "notes.md").write_text("mine")
    assert claim(folder, changed(preset="released"), ["b"], overwrite=True) == set()
    assert sorted(path.name for path in folder.iterdir()) == [RECORD, "notes.md"]


def test_what_each_sequence_has_for_itself_counts_for_itself(folder):
    def by(**images):
        settings = SETTINGS | {"images": images}
        return claim(folder, settings, images, by_sequence=["images"])

    result_file(folder, "a").unlink()
    by(a=True, b=True)
    for name in ("a", "b"):
        result_file(folder, name).write_text("done")
    assert by(b=True, c=False) == {"b"}
    assert by(a=True, c=True) == {"a"}  # c was not finished
    recorded = json.loads((folder / RECORD).read_text())["settings"]["images"]
    assert recorded == {"a": True, "b": True, "c": True}
    with pytest.raises(InputError, match=r"settings: images\.b was true, not false\. Give"):
        by(a=True, b=False)


def test_a_record_without_them_is_refused_or_replaced(folder):
    for settings in (SETTINGS, SETTINGS | {"images": "all"}):
        claim(folder, settings, ["a"], overwrite=True)
        result_file(folder, "a").write_text("done")
        wanted = SETTINGS | {"images": {"a": True}}
        with pytest.raises(InputError, match=r"images\.a was nothing, not true"):
            claim(folder, wanted, ["a"], by_sequence=["images"])
        assert claim(folder, wanted, ["a"], by_sequence=["images"], overwrite=True) == set()


def test_the_root_of_a_disk_is_as_good_as_an_empty_folder(tmp_path):
    (tmp_path / "lost+found").mkdir()
    assert claim(tmp_path, SETTINGS, ["a"]) == set()


def test_what_a_killed_run_left_half_done_is_removed(folder):
    partial = partial_path(folder / "b.txt")
    partial.with_name(partial.name.replace(f"-{os.getpid()}", "-99999999")).write_text("half")
    claim(folder, SETTINGS, ["a", "b"])
    assert not [path for path in folder.iterdir() if "partial" in path.name]


@pytest.mark.parametrize(("file", "text", "complaint"), [
    pytest.param("thesis.txt", "", "holds other files; give a new or an empty folder", id="other"),
    pytest.param(RECORD, "{", r"evaluation\.json cannot be read", id="a cut record"),
    pytest.param(RECORD, "[]", r"evaluation\.json cannot be read", id="no record"),
    pytest.param(RECORD, '{"settings": 3, "sequences": []}', "cannot be read", id="odd settings"),
    pytest.param(RECORD, '{"settings": {}, "sequences": ["%s"]}' % ("x" * 300), "cannot be",
                 id="a name too long"),
])
def test_a_folder_that_is_not_ours_is_left_alone(tmp_path, file, text, complaint):
    (tmp_path / file).write_text(text)
    for overwrite in (False, True):
        with pytest.raises(InputError, match=complaint):
            claim(tmp_path, SETTINGS, ["a"], overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == [file]


def test_each_tracker_has_a_folder_and_what_it_lacks_is_to_do(tmp_path):
    folders = {label: tmp_path / label for label in ("one", "two")}
    settings = {label: SETTINGS | {"label": label} for label in folders}
    assert claim_all(folders, settings, ["a", "b"]) == {"a": ("one", "two"), "b": ("one", "two")}
    for path in ("one/a.txt", "one/b.txt", "two/a.txt"):
        (tmp_path / path).write_text("")
    assert claim_all(folders, settings, ["a", "b"]) == {"b": ("two",)}


def test_a_folder_of_a_model_is_known_by_the_content_of_its_files(tmp_path):
    first, other = tmp_path / "first", tmp_path / "other"
    for folder in (first, other):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"1")
    (other / "README.md").write_text("copied")
    assert model_settings(f"hf:{first}", None) == model_settings(f"hf:{other}", None)
    (other / "model.safetensors").write_bytes(b"2")
    (_, before), (_, after) = (model_settings(f"hf:{folder}", None) for folder in (first, other))
    assert {name for name in before if before[name] != after[name]} == {"model.safetensors"}
    assert model_settings("hist", None) == ("hist", None)


def test_a_file_of_detections_is_known_by_its_content(tmp_path):
    first, other = tmp_path / "a.json", tmp_path / "b.json"
    for path in (first, other):
        path.write_text("{}")
    known = detections_setting(first, {})
    assert known == detections_setting(other, {})
    for given in (tmp_path, Path("det.txt"), None):  # in a folder, in each sequence, beside it
        assert detections_setting(given, {"s": first}) == {"s": known}
