"""The command `tfsasm`, which is `python -m tfsasm` too.

Ctrl-C and SIGTERM have their answer before anything that takes time is imported.
"""

import os
import signal
from types import FrameType


def main() -> None:
    """Entry point. While packages load there is nothing to keep, so a signal ends it at once."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` and `&` of a script ask
            signal.signal(number, _stop)
    from tfsasm.cli.main import main as run

    run()


def _stop(number: int, _: FrameType | None) -> None:
    """One line, and the code that shells give to a process that a signal ended."""
    os.write(2, b"stopped\n")
    os._exit(128 + number)


if __name__ == "__main__":
    main()
