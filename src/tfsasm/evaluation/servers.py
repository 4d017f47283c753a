"""What the evaluation servers take: which sequences, and where in the zip.

Where this is known from:

- DanceTrack (Codabench competition 14885): its README, "archive tracker folder, instead of txt
  files ... the folder name must be tracker". Without it the server says `Tracker file not found:
  res/tracker/dancetrack0003.txt` (issue 30 of its repository).
- MOT17 and MOT20: motchallenge.net/instructions, a .txt per sequence "in the archive's root
  folder", 10 values per line. MOT17 wants each video under the names of all three public detectors.
  Training sequences may come along; once they had to.
- SportsMOT: competition.md of its repository, "put directly in the root folder of your zip";
  anything but the 150 test sequences is refused ("not one-to-one matches").
- BDD100K: doc/source/evaluate.rst of bdd100k/bdd100k, a zip of a Scalabel JSON per video.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DETECTORS = ("DPM", "FRCNN", "SDP")
"""MOT17 has each video three times, with the public detections of each."""


@dataclass(frozen=True)
class Server:
    """Sequences by name, with their number of frames where it is published."""

    wanted: Mapping[str, int | None]
    """The test split; empty where only the data set itself has it."""
    optional: Mapping[str, int | None] = field(default_factory=dict)
    """What may come along, all or nothing."""
    folder: str = ""
    """Where the files are inside the zip."""

_DANCETRACK = """
0003 0009 0011 0013 0017 0021 0022 0028 0031 0036 0038 0040 0042 0046 0048 0050 0054 0056 0059 0060
0064 0067 0070 0071 0076 0078 0084 0085 0088 0089 0091 0092 0093 0095 0100
"""

_MOT17_TEST = {"01": 450, "03": 1500, "06": 1194, "07": 500, "08": 625, "12": 900, "14": 750}

_MOT17_TRAIN = {"02": 600, "04": 1050, "05": 837, "09": 525, "10": 654, "11": 900, "13": 750}

_MOT20_TEST = {"04": 2080, "06": 1008, "07": 585, "08": 806}

_MOT20_TRAIN = {"01": 429, "02": 2782, "03": 2405, "05": 3315}

_SPORTSMOT = {  # video: its clips
    "-9kabh1K8UA": "008 009 010",
    "-hhDbvY5aAM": "001 002 005 006 007 008 009 011 012 600 602",
    "1UDUODIBSsc": "001 004 015 037 055 056 063 067 090 103 111 113 601 602 603 606 609 615",
    "2BhBRkkAqbQ": "002",
    "2ChiYdg5bxI": "039 044 046 058 067 072 086 115 120 128 135 136 600 601 602",
    "2Dnx8BpgUEs": "003 005 006 007",
    "2Dw9QNH5KtU": "001 003 004 007 008 012 014 018",
    "42VrMbd68Zg": "003 004 011 012",
    "6OLC1-bhioc": "001 003 005 007 008 009 011 012 013 014",
    "6oTxfzKdG6Q": "004 015",
    "7FTsO8S3h88": "001 004 005 006 007 008",
    "82WN8C8qJmI": "002 003 004 005 014",
    "8rG1vjmJHr4": "004 005 006 007 008 010",
    "9p0i81kAEwE": "002 003 006 007 008 009 010 013 014 015 018 019",
    "A4OJhlI6hgc": "001 002 003 005 601",
    "BdD9xu0E2H4": "003 004 006 010 011 013",
    "DjtFlW2eHFI": "614 616",
    "aAb0psypDj4": "003 006 008 009",
    "aVfJwdQxCsU": "001 007 015",
    "bQNDRprvpus": "001 003 005 007 008",
    "bhWjlAEICp8": "003 004 006 008 009 010 014 018",
    "czYZnO9QxYQ": "002 005 008 012 013 014 016 020",
    "foGDoBblREI": "002 008",
    "iF9bKPWdZlc": "001 003",
}

SERVERS = {
    "dancetrack": Server({f"dancetrack{name}": None for name in _DANCETRACK.split()},
                         folder="tracker/"),
    "mot17": Server({f"MOT17-{name}-{detector}": length
                     for name, length in _MOT17_TEST.items() for detector in DETECTORS},
                    {f"MOT17-{name}-{detector}": length
                     for name, length in _MOT17_TRAIN.items() for detector in DETECTORS}),
    "mot20": Server({f"MOT20-{name}": length for name, length in _MOT20_TEST.items()},
                    {f"MOT20-{name}": length for name, length in _MOT20_TRAIN.items()}),
    "sportsmot": Server({f"v_{video}_c{clip}": None
                         for video, clips in _SPORTSMOT.items() for clip in clips.split()}),
    "bdd100k": Server({}),
}  # fmt: skip
