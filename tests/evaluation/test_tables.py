import csv
import io
import json

import pytest
from rich.console import Console

from helpers.walks import flawed, walk
from tfsasm.evaluation.bdd100k import Labels, score_classes
from tfsasm.evaluation.metrics import score
from tfsasm.evaluation.significance import METRICS, Difference
from tfsasm.evaluation.tables import differences_table, report_table, scores_csv, scores_table


@pytest.fixture(scope="module")
def report():
    truths = {"long": walk(40, 9, 1), "short": walk(20, 3, 2)}
    return score(truths, {name: flawed(truth, 1) for name, truth in truths.items()})


@pytest.fixture(scope="module")
def class_report():
    truth = walk(20, 3, 2)
    labels = Labels.of(truth, ["car"] * len(truth))
    return score_classes({"v": labels}, {"v": labels})


def printed(*tables):
    console = Console(width=90)
    with console.capture() as capture:
        for table in tables:
            console.print(table)
    return capture.get()


def test_a_report_as_json_and_as_a_table(report):
    content = json.loads(json.dumps(report.to_json()))
    assert content["combined"]["HOTA"] == report.combined.HOTA
    assert list(content["sequences"]) == ["long", "short"]
    wanted = {"HOTA", "DetA", "AssA", "LocA", "MOTA", "IDF1", "IDSW", "Frag", "FP", "FN"}
    assert wanted <= content["sequences"]["long"].keys()

    text = printed(
        report_table(report, title="two sequences"),
        scores_table({"ours": report.combined}, label="tracker"),
    )
    assert f"{report.combined.HOTA:.1f}" in text
    for word in ("two sequences", "long", "combined", "tracker", "Frag", "FN"):
        assert word in text


@pytest.mark.parametrize("name", ["sort", "default:memory.capacity=0"])
def test_gains_fit_80_columns_beside_any_name(name):
    some = [Difference(name, "bytetrack", metric, -19.03, -25.39, -13.25, {}) for metric in METRICS]
    console = Console(width=80)
    with console.capture() as capture:
        console.print(differences_table(some))
    assert name in capture.get()
    assert capture.get().count("[-25.39, -13.25]") == 3


def test_a_csv_has_a_line_per_sequence_and_one_for_all(report):
    rows = list(csv.DictReader(io.StringIO(scores_csv(report))))
    assert [row["sequence"] for row in rows] == ["long", "short", "combined"]
    assert float(rows[2]["HOTA"]) == report.combined.HOTA, "nothing is rounded"
    assert int(rows[0]["IDSW"]) == report.sequences["long"].IDSW


def test_classes_stand_between_sequences_and_averages(class_report):
    rows = list(csv.DictReader(io.StringIO(scores_csv(class_report))))
    names = [row["sequence"] for row in rows]
    assert names[:2] == ["v", "class pedestrian"]
    assert names[-3:] == ["class bicycle", "class average", "combined"]
    text = printed(report_table(class_report)).splitlines()
    assert [line.split()[0] for line in text if line.strip() and "─" not in line] == [
        "sequence", "v", *["class"] * 9, "combined",
    ]  # fmt: skip
