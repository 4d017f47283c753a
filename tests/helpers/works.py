"""What processes of tests do; they load this file, which loads next to nothing."""

import os
import signal
import time

from tfsasm.errors import InputError
from tfsasm.files import atomic_path


def make(folder):
    """Counts to the number in a name; some names fail, some take processes down with them."""

    def work(name):
        yield from range(1, int(name[-1]) + 1)
        if name.startswith("bad"):
            raise InputError(f"{name} is bad")
        if name.startswith("bug"):
            raise KeyError(name)
        if name.startswith("die") or (name.startswith("once") and not (folder / name).exists()):
            (folder / name).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return f"did {name}"

    return work


def make_writer(folder):
    def work(name):
        with atomic_path(folder / name) as half:
            half.write_text("half")
            while True:
                time.sleep(0.01)
                yield 1

    return work


def refuse():
    raise InputError("no weights")


def share(_):
    yield 1
    return os.environ["OMP_NUM_THREADS"]
