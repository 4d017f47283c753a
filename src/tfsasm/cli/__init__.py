"""Commands: a file each, with its `Options` and a `run` that may return an exit code but OK."""

OK, FAILED, USER_ERROR, TRUNCATED, INTERRUPTED = 0, 1, 2, 3, 130
"""Done; done, with problems to look at; refused; the source was cut short; stopped by a signal, of
which SIGTERM makes it 143."""
