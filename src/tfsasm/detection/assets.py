"""Files the package fetches once and keeps: a download, a cache folder and a checksum beside each.

The first use records the SHA-256; every later one verifies it, so that a file that rotted or was
exchanged does not quietly change results.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import IO

from tfsasm.errors import InputError
from tfsasm.files import atomic_path, cache_folder, check_folder, write_text

log = logging.getLogger(__name__)

_TIMEOUT = 30.0  # seconds without an answer, not for the whole file

_CHUNK = 1 << 18


def fetch(url: str, *, folder: Path | None = None, instead: str = "") -> Path:
    """The file at `url` from the cache, downloaded when it isn't there yet.

    `folder` is `cache_folder()` by default. `instead` says what else the user can do, and ends the
    message when the download fails.

    Raises `InputError` when there is no network, the download breaks off, or the cached file is not
    the one that was first used.
    """
    target = (folder or cache_folder()) / url.rpartition("/")[2]
    if not target.is_file():
        check_folder(target.parent)
        try:
            _download(url, target)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise InputError(
                f"cannot download {url} ({_reason(error)}); get it where there is a network and "
                f"put it at {target}{instead}"
            ) from error
    verify(target)
    return target


def verify(path: Path) -> str:
    """The SHA-256 of a cached file, recorded in `<name>.sha256` on first use and compared later.

    Raises `InputError` naming both sums and the mend when they differ.
    """
    sidecar = path.with_name(f"{path.name}.sha256")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if sidecar.is_file():
        recorded = (sidecar.read_text(encoding="utf-8", errors="replace").split() or [""])[0]
        if recorded != digest:
            raise InputError(
                f"{path} is not the file first used: its SHA-256 is {digest}, recorded is "
                f"{recorded or 'nothing'}. Delete the file to download it again, or {sidecar.name} "
                "to accept it")
        return digest
    try:
        write_text(sidecar, f"{digest}  {path.name}\n")
    except OSError as error:
        log.warning("cannot record the checksum of %s: %s", path, error)
    return digest


def _download(url: str, target: Path) -> None:
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer, atomic_path(target) as partial:
        if "text/html" in (answer.headers.get("Content-Type") or ""):
            raise ValueError("the answer is a web page, not a file")
        size = int(answer.headers.get("Content-Length") or 0)
        with partial.open("wb") as file:
            got = _copy(answer, file, size, target.name)
        if size and got != size:
            raise ValueError(f"the connection ended after {got} of {size} bytes")
    # a checksum of an earlier file of this name says nothing about the new one
    with suppress(FileNotFoundError):
        target.with_name(f"{target.name}.sha256").unlink()


def _copy(source: IO[bytes], file: IO[bytes], size: int, name: str) -> int:
    """Copy with a progress bar on the error stream; returns the number of bytes."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    got = 0
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(f"downloading {name}", total=size or None)
        while chunk := source.read(_CHUNK):
            file.write(chunk)
            got += len(chunk)
            progress.update(task, completed=got)
    return got


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(reason) or type(reason).__name__
