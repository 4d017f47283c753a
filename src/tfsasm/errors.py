"""What the package raises when a user can mend the cause.

The command line prints these as one line and exits with a code; anything else is a defect of ours.
"""




class TfsasmError(Exception):
    """Base of every error that is a message to the user rather than a defect."""


class InputError(TfsasmError, ValueError):
    """A file, line, frame or setting that cannot be used. The message says which, and the mend."""


class WeightsError(TfsasmError, ValueError):
    """A checkpoint that is unreadable, unsafe or does not fit the network."""


class TruncatedInput(TfsasmError):
    """A source ended early. What came before is good; raised after the last good frame."""
