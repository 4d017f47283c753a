"""Scores of tracking results, by the official TrackEval.

TrackEval's own front end reads fixed folder layouts and prints as it goes. Its metric classes need
neither: they take the boxes of one sequence and know how to combine sequences. So the numbers here
are TrackEval's, computed in memory, and a caller may score boxes that were never in a file.

`score` takes boxes as they are: each of the truth is an object to be found. Which rows of a file
those are is a rule of the benchmark (`protocols.py`); `score_files` and `score_folders` apply it.
"""



from tfsasm.evaluation.classes import ClassReport, Labels, score_classes
from tfsasm.evaluation.metrics import ALPHAS, Report, Scores, score, score_sequence
from tfsasm.evaluation.plots import Slice, plot_curves, plot_slices, plot_tradeoff
from tfsasm.evaluation.protocols import PROTOCOLS, Protocol, guess_dataset
from tfsasm.evaluation.result_files import Files
from tfsasm.evaluation.score import Scored, read_results, read_truths, score_files, score_folders
from tfsasm.evaluation.significance import Difference, differences
from tfsasm.evaluation.tables import (
    differences_table,
    report_table,
    reports_csv,
    scores_csv,
    scores_table,
)
from tfsasm.evaluation.trajectories import Trajectories

__all__ = [
    "ALPHAS",
    "PROTOCOLS",
    "ClassReport",
    "Difference",
    "Files",
    "Labels",
    "Protocol",
    "Report",
    "Scored",
    "Scores",
    "Slice",
    "Trajectories",
    "differences",
    "differences_table",
    "guess_dataset",
    "plot_curves",
    "plot_slices",
    "plot_tradeoff",
    "read_results",
    "read_truths",
    "report_table",
    "reports_csv",
    "score",
    "score_classes",
    "score_files",
    "score_folders",
    "score_sequence",
    "scores_csv",
    "scores_table",
]  # fmt: skip
