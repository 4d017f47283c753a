"""Commands over data sets, with a detector that notes what it is given and may stop a run."""

import io
from importlib import import_module
from pathlib import Path

from rich.console import Console

from helpers.scenes import Outcome
from tfsasm.cli import main
from tfsasm.detection.stored import MotDetections


class FolderDetector:
    """The detections beside each sequence, as a live detector of the images in its folder.

    `names` are the sequences of the frames so far; at frame 4 of the sequence `stop` comes Ctrl-C.
    """

    def __init__(self, stop=None):
        self.names, self._stop, self._stored = [], stop, {}

    def __call__(self, frame):
        folder = Path(frame.name).parent.parent
        self.names.append(folder.name)
        if folder.name == self._stop and frame.number == 4:
            raise KeyboardInterrupt
        if folder not in self._stored:
            self._stored[folder] = MotDetections(folder / "det/det.txt")
        return self._stored[folder](frame)

    def report(self):
        return []


def words_of(options, *flags):
    """Options as words of a command line, and `flags` behind them; None leaves one out."""
    given = [(f"--{name.replace('_', '-')}", v) for name, v in options.items() if v is not None]
    return [*(part for pair in given for part in pair), *flags]


def run_command(*words, **given):
    """The outcome of a command whose `run` is given more than its options."""
    out, errors = Console(file=io.StringIO(), width=200), Console(file=io.StringIO())
    command = import_module(f"tfsasm.cli.{words[0]}")
    code = command.run(main.parse([str(word) for word in words]), out, errors, **given)
    return Outcome(code or 0, out.file.getvalue(), errors.file.getvalue())
