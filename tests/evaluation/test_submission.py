"""Which sequences a server takes, and what is wrong with a folder of results."""

import pytest

from tfsasm.errors import InputError
from tfsasm.evaluation.submission import SERVERS, choose, write_zip


def test_the_splits_have_as_many_sequences_as_their_benchmarks_have():
    counts = {name: len(server.wanted) for name, server in SERVERS.items()}
    assert counts == {
        "dancetrack": 35, "mot17": 21, "mot20": 4, "sportsmot": 150, "bdd100k": 0,
    }  # fmt: skip
    frames = {name: sum(filter(None, server.wanted.values())) for name, server in SERVERS.items()}
    assert (frames["mot17"], frames["mot20"]) == (3 * 5919, 4479)
    frames = {name: sum(filter(None, server.optional.values())) for name, server in SERVERS.items()}
    assert (frames["mot17"], frames["mot20"]) == (3 * 5316, 8931)


def test_missing_and_surplus_sequences_are_all_named(tmp_path):
    sequences = list(SERVERS["dancetrack"].wanted)
    for name in (*sequences[2:], "dancetrack0001", "mine"):
        (tmp_path / f"{name}.txt").write_text("1,1,10.50,20,30,40.00,0.9,-1,-1,-1\n")
    with pytest.raises(InputError) as caught:
        choose("dancetrack", tmp_path, {})
    assert "no result for dancetrack0003, dancetrack0009;" in str(caught.value)
    assert str(caught.value).endswith("not wanted: dancetrack0001, mine")


@pytest.mark.parametrize("name", ["../a.txt", r"data/..\..\a.txt", "/a.txt", "data/\x1b[2J.txt"])
def test_a_zip_has_no_entry_that_leads_out_of_it(tmp_path, name):
    with pytest.raises(InputError, match=r"the file in the zip .* cannot be that of a file"):
        write_zip(tmp_path / "a.zip", [(name, "")])
    assert list(tmp_path.iterdir()) == []
