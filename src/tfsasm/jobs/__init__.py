"""What can be asked for on the command line: options and their help, nothing else.

Light on purpose, so that `--help` answers at once. `run.py` does the work.
"""

from tfsasm.jobs.bench import Bench
from tfsasm.jobs.boxes import (
    ConvertDetections,
    Detect,
    Detections,
    FilterDetections,
    MergeDetections,
    RekeyDetections,
)
from tfsasm.jobs.following import Demo, Show, Track
from tfsasm.jobs.networks import Convert, Export, Synth, Train
from tfsasm.jobs.scoring import Ablate, Compare, Datasets, Evaluate, Merge, Score, Submit

Job = (
    Track | Evaluate | Convert | Synth | Score | Datasets | Train | Demo | Merge | Submit | Show
    | Detect | Detections | Compare | Ablate | Export | Bench
)

__all__ = [
    "Ablate", "Bench", "Compare", "Convert", "ConvertDetections", "Datasets", "Demo", "Detect",
    "Detections", "Evaluate", "Export", "FilterDetections", "Job", "Merge", "MergeDetections",
    "RekeyDetections", "Score", "Show", "Submit", "Synth", "Track", "Train",
]  # fmt: skip
