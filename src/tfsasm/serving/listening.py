"""The socket that a server listens on, opened before all else: a taken port is an error."""

from __future__ import annotations

import socket

from tfsasm.errors import InputError


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is any that is free.

    Raises `InputError` where nothing can listen.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen on {host}, port {port} ({reason}); give another --port"
        ) from error
