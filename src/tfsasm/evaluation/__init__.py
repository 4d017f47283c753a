"""Scores of tracking results, by the official TrackEval.

TrackEval's own front end reads fixed folder layouts and prints as it goes. Its metric classes need
neither: they take the boxes of one sequence and know how to combine sequences. So the numbers here
are TrackEval's, computed in memory, and a caller may score boxes that were never in a file.

`metrics.score` takes boxes as they are: each of the truth is an object to be found. Which rows of a
file those are is a rule of the benchmark (`protocols.py`), which `score.score_folders` applies.
"""
