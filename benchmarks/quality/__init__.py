"""How good the appearance tracker is, and its memory: on everything that is to hand, in one go.

`python -m benchmarks.quality --help` has the commands, docs/results.md what they say.
"""
