"""Results of `tfsasm track` at an address of fsspec: s3://BUCKET/FOLDER, gs://..., memory://..."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from tfsasm.errors import InputError
from tfsasm.video.addresses import public_address

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)")


def address_of(output: Path | None) -> str | None:
    """The address that an output is, of which a path has kept one slash; None for a folder."""
    if output is None or not (found := _ADDRESS.fullmatch(output.as_posix())):
        return None
    scheme, rest = found.groups()
    return f"{scheme}://{'/' if scheme in ('file', 'local') else ''}{rest}"


def upload(files: Iterable[Path], address: str) -> None:
    """Copy files to the folder at an address, each of which appears there when it is whole.

    Raises `InputError` when that is not possible.
    """
    system, folder = _opened(address)
    with _writing(address):
        system.makedirs(folder, exist_ok=True)
        for file in files:
            partial = f"{folder}/.{file.name}.partial"
            system.put_file(str(file), partial)
            system.mv(partial, f"{folder}/{file.name}")


class RemoteJournal:
    """The run at an address that `about` describes: an earlier one's, or a new one.

    A file there is whole, so what is there is done, once track.partial says that it is of this run.
    `results` are the files of each video. Raises `InputError` for files that are of no run or
    another one, unless they may be overwritten.
    """

    def __init__(
        self, address: str, about: Mapping[str, Any], results: Mapping[str, Sequence[str]], *,
        overwrite: bool,
    ) -> None:
        self.path = f"{public_address(address)}/track.partial"
        self._system, folder = _opened(address)
        self._place = f"{folder}/track.partial"
        with _writing(address):
            there = {
                name for name, files in results.items()
                if all(self._system.exists(f"{folder}/{file}") for file in files)
            }  # fmt: skip
            if not self._is_of(about, overwrite=overwrite):
                for file in (file for files in results.values() for file in files):
                    self._make_way(f"{folder}/{file}", overwrite=overwrite)
                there = set()
                self._system.makedirs(folder, exist_ok=True)
                self._system.pipe_file(self._place, json.dumps(about).encode())
        self.finished = {name: list[str]() for name in there}

    def _is_of(self, about: Mapping[str, Any], *, overwrite: bool) -> bool:
        """Whether the run that was begun here is this one."""
        if not self._system.exists(self._place):
            return False
        with suppress(ValueError):
            if json.loads(self._system.cat_file(self._place)) == about:
                return True
        if overwrite:
            return False
        raise InputError(f"{self.path} is of another run; give its options to continue it, or "
                         "--overwrite to start over")  # fmt: skip

    def _make_way(self, place: str, *, overwrite: bool) -> None:
        if self._system.exists(place):
            if not overwrite:
                raise InputError(f"{place} exists; give another --output or --overwrite")
            self._system.rm_file(place)

    def finish(self, video: str, notes: list[str]) -> None:
        """Its files are there."""
        self.finished[video] = notes

    def remove(self) -> None:
        """When all is done; results stay."""
        with _writing(self.path):
            self._system.rm_file(self._place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


def _opened(address: str) -> tuple[Any, str]:
    """The file system of an address, and the place there."""
    try:
        from fsspec.core import url_to_fs

        system, folder = url_to_fs(address)
    except (ImportError, ValueError, OSError) as error:
        raise InputError(
            f"cannot write to {public_address(address)}: {error}; pip install "
            '"tfsasm[remote]" knows s3:// and gs://'
        ) from error
    return system, str(folder).rstrip("/")


@contextmanager
def _writing(address: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write to {public_address(address)}: {error}") from error
