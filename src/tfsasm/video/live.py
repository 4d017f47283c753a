"""A network stream that is opened again when its connection is lost."""

import time
from collections.abc import Callable

from tfsasm.errors import InputError, TruncatedInput
from tfsasm.video.decoder import Decoder

PAUSE = 0.5  # seconds between two attempts


def connected_again(
    connect: Callable[[], Decoder], patience: float, lost: str
) -> tuple[Decoder, float]:
    """The stream again, and the seconds that it took.

    `lost` says what happened. Raises `TruncatedInput` after `patience` seconds.
    """
    began = time.monotonic()
    while True:
        try:
            return connect(), time.monotonic() - began
        except InputError as error:
            if time.monotonic() + PAUSE > began + patience:
                raise TruncatedInput(f"{lost}, and not back within {patience:g} s") from error
        time.sleep(PAUSE)
