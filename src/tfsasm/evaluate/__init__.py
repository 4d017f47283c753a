"""Scores of tracking results, by the official TrackEval.

TrackEval's own front end reads fixed folder layouts and prints as it goes. Its metric classes need
neither: they take the boxes of one sequence and know how to combine sequences. So the numbers here
are TrackEval's, computed in memory, and a caller may score boxes that were never in a file.

`score` takes boxes as they are: each of the truth is an object to be found. Which rows of a file
those are is a rule of the benchmark (`protocols.py`); `score_files` and `score_folders` apply it.
"""

from tfsasm.evaluate.classes import ClassReport, Labels, score_classes
from tfsasm.evaluate.pairing import Files
from tfsasm.evaluate.plots import plot_curves
from tfsasm.evaluate.protocols import PROTOCOLS, Protocol, guess_dataset
from tfsasm.evaluate.reading import (
    Scored,
    read_results,
    read_truths,
    score_files,
    score_folders,
)
from tfsasm.evaluate.scores import ALPHAS, Report, Scores, score, score_sequence
from tfsasm.evaluate.tables import report_table, scores_csv, scores_table
from tfsasm.evaluate.trajectories import Trajectories

__all__ = [
    "ALPHAS", "PROTOCOLS", "ClassReport", "Files", "Labels", "Protocol", "Report", "Scored",
    "Scores", "Trajectories", "guess_dataset", "plot_curves", "read_results", "read_truths",
    "report_table", "score", "score_classes", "score_files", "score_folders", "score_sequence",
    "scores_csv", "scores_table",
]  # fmt: skip
