"""Files: read with one clear error, written so that a crash leaves the old or the whole new one.

Also names and JSON out of other people's files, checked; errors use JSON's words.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from tfsasm.errors import InputError
from tfsasm.limits import TEXT, open_to_read, refuse_device, stand_in

if sys.platform != "win32":
    import fcntl

_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)")

TRACKED = ".tracked"
"""Ends the stem of an annotated video, which is none to be tracked."""

_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|^[A-Za-z]:")

_FLAGS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}

_WHAT = {str: "text", list: "a list", dict: "an object", bool: "true or false",
         int: "a whole number (of up to 15 digits)"}  # fmt: skip

_LARGEST = 1e300  # whole numbers may be larger than any float; never true of NaN

_WORDS = {"Expecting value": "wanted is a value", "Expecting": "wanted is"}

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What only writing can meet: a full disk, a used-up share of it, a file too large for it."""


def safe_name(name: str, what: str) -> str:
    """`name`, if it can be that of a file inside a folder; `what` says whose name it is.

    Names come from other people's files. Raises `InputError` for one that would lead elsewhere (a
    separator, `..`, a drive), for control characters, for none at all, for what Windows takes for a
    device (`CON`, `nul.txt`), and for 240 bytes and more: file systems take 255, suffixes included.
    """
    short = len(name.encode(errors="surrogatepass")) < 240
    if short and name.strip(" .") and not _UNSAFE.search(name) and not _DEVICE.match(name):
        return name
    raise InputError(f"{what} {name[:240]!r} cannot be that of a file: a slash, a drive, control "
                     "characters, 240 bytes or more, or a device of Windows")  # fmt: skip


def safe_path(name: str, what: str) -> str:
    """The same for a path below a folder, `a/b.jpg`."""
    for part in name.split("/"):
        safe_name(part, what)
    return name


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Says which file cannot be read, and why. Raises `InputError`."""
    try:
        yield
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder; give a file") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Says which file there was no room for, since the system does not. Raises `InputError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def partial_path(target: Path) -> Path:
    """Where this process writes `target` until it is whole: `.NAME.partial-HOST-PID.SUFFIX`.

    The suffix is kept, since some writers choose their format by it. What processes of this host
    that are gone left there of the same target is removed: only SIGKILL and power cuts leave any.
    Raises `InputError` for a target that is a device.
    """
    refuse_device(target)
    remove_abandoned(target.parent, target.stem)
    partial = target.with_name(f".{target.stem}.partial-{_host()}-{os.getpid()}{target.suffix}")
    if partial.is_symlink() or partial.is_dir():  # leads elsewhere, or of an earlier process
        _remove(partial)
    return partial


def remove_abandoned(folder: Path, stem: str | None = None) -> None:
    """Remove the partial files in `folder`, those of `stem` or all, whose process is gone.

    Those of other hosts stay, for a folder may be shared; so do all on Windows, where asking for a
    process could end it.
    """
    if sys.platform == "win32" or not folder.is_dir():
        return
    name, mark = ".*" if stem is None else re.escape(stem), rf"\.partial-{_host()}-"
    # What is written beside a partial file has the mark twice.
    wanted = re.compile(rf"\.+{name}(?:{mark}\d+)*{mark}(\d+)(\..*)?", re.DOTALL)
    for entry in os.scandir(folder):
        if (found := wanted.fullmatch(entry.name)) and not _lives(int(found[1])):
            _remove(Path(entry.path))


def _remove(path: Path) -> None:
    """A file, a link itself or a whole folder, if it is there and may be removed."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@cache
def _host() -> str:
    """This host, and on Linux this container: process numbers mean something within it alone."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{platform.node()} {space}".encode()).hexdigest()[:8]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


@contextmanager
def partial_folder(folder: Path, name: str) -> Iterator[Path]:
    """An empty hidden folder in `folder` to write into; it goes when the block ends."""
    partial = partial_path(folder / name)
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """A folder or a file for this process alone, until the block or the process ends.

    The system lets go of it however the process ends. Raises `InputError` when another process has
    it. Where there are no such locks (Windows, some network file systems) there is none.
    """
    if sys.platform == "win32":
        yield
        return
    handle = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise InputError(
            f"{place} is being written by another process; wait until that one ends, or give "
            "another output"
        ) from error
    except OSError:  # no locks on this file system
        pass
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path` that becomes `path` when the block ends without an error.

    See `partial_path`. Raises `InputError` when the disk is full.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(target)
    try:
        with writing(target):
            yield partial
            os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8 with `\\n` line ends, atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path | str, value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def check_output(path: Path | str, *, overwrite: bool) -> Path:
    """Refuse an output file before any work is done.

    Raises `InputError` when the file exists and `overwrite` is false, when it is a folder or a
    device, or when nothing can be written beside it.
    """
    target = Path(path)
    try:
        refuse_device(target)
        if target.is_dir():
            raise InputError(f"{target} is a folder; give the name of a file to write")
        if target.exists() and not overwrite:
            raise InputError(f"{target} exists; give another name or --overwrite")
    except OSError as error:  # such as a name that is too long
        raise InputError(f"cannot write {target}: {error.strerror}") from error
    check_folder(target.parent)
    return target


def check_outputs(paths: Iterable[Path | str | None], *, overwrite: bool) -> None:
    """Refuse the output files of a command before any work is done; None is an absent one.

    Raises `InputError` as `check_output` and `check_distinct` do.
    """
    outputs = [path for path in paths if path is not None]
    check_distinct(outputs)
    for path in outputs:
        check_output(path, overwrite=overwrite)


def check_distinct(
    outputs: Iterable[Path | str | None], inputs: Iterable[Path | str | None] = ()
) -> None:
    """Raises `InputError` when two outputs are the same file, or one is an input."""
    places = [os.path.realpath(path) for path in outputs if path is not None]
    if len(set(places)) < len(places):
        raise InputError("two outputs have the same name; give each its own")
    for path in inputs:
        if path is not None and os.path.exists(path) and os.path.realpath(path) in places:
            raise InputError(f"{path} is an input; write the output elsewhere")


def check_folder(folder: Path | str) -> Path:
    """Make `folder` and prove that it can be written. Raises `InputError` when it cannot."""
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target):
            pass
    except (FileExistsError, NotADirectoryError) as error:
        file = next(one for one in (target, *target.parents) if os.path.lexists(one))
        raise InputError(f"cannot write in {target}: {file} is no folder") from error
    except OSError as error:
        raise InputError(f"cannot write in {target}: {error.strerror or error}") from error
    return target


def sha256(path: Path | str) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises `InputError` when it cannot be read."""
    with reading(path), open_to_read(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Where downloads are kept: `TFSASM_CACHE`, or `tfsasm` in the system's cache folder."""
    if chosen := os.environ.get("TFSASM_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tfsasm"


def read_text(path: Path | str) -> str:
    """A file's text without its byte order mark.

    Raises `InputError` when it cannot be had, or is too large (`limits.TEXT`).
    """
    try:
        with reading(path), open_to_read(path) as file:
            TEXT.check(os.fstat(file.fileno()).st_size, path)
            data = file.read(TEXT.value + 1)  # files of `/proc` and `/sys` say no size
            TEXT.check(len(data), path)
            if what := stand_in(data, text=True):
                raise InputError(f"{path} is {what}")
            return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not text (byte {error.start} is not UTF-8); save it as UTF-8"
        ) from error


def read_json(path: Path | str) -> Any:
    """What a JSON file holds. Raises `InputError` naming file, line and column of the damage."""
    text = read_text(path)
    try:
        return parsed(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}:{error.colno}: {error}") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


class NotJson(json.JSONDecodeError):
    """What is wrong with a JSON text, in words of ours."""

    def __str__(self) -> str:
        if self.pos >= len(self.doc.rstrip()):
            return f"not valid JSON: it {'ends too early' if self.doc.strip() else 'is empty'}"
        reason = f"{self.msg[0].lower()}{self.msg[1:]}"
        for word, ours in _WORDS.items():
            reason = reason.replace(word.lower(), ours)
        return f"not valid JSON: {reason}"


def parsed(text: str) -> Any:
    """What a JSON text means. Raises `ValueError`, or its kind `NotJson`, which has the place."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise NotJson(error.msg, error.doc, error.pos) from error
    except RecursionError as error:
        raise ValueError(
            f"it is nested too deep, in more than some {sys.getrecursionlimit():,} lists or objects"
        ) from error
    except ValueError as error:  # Python refuses whole numbers of thousands of digits
        raise ValueError("not valid JSON: a number is too long") from error


def field(entry: Any, key: str, kind: type) -> Any:
    """`entry[key]`. Raises `ValueError` if there is none, or none of that kind."""
    if not isinstance(entry, dict):
        raise ValueError(f"{shown(entry)} is not an object")
    if key not in entry:
        raise ValueError(f"{key} is missing")
    return checked(entry[key], key, kind)


def checked(value: Any, what: str, kind: type) -> Any:
    """`value` if it is of that kind. Raises `ValueError`."""
    whole = type(value) is int and abs(value) < 10**15  # arrays cannot hold much more
    if whole if kind is int else isinstance(value, kind):
        return value
    raise ValueError(f"{what} is {shown(value)}, not {_WHAT[kind]}")


def identity(entry: Any, key: str) -> str:
    """A name or a number, as text. Raises `ValueError` as `field` does."""
    if isinstance(entry, dict) and type(entry.get(key)) is int:
        entry = {key: str(entry[key])}
    return str(field(entry, key, str))


def number_or_name(entry: Any, key: str) -> int | str:
    """`entry[key]`, a whole number or text, as written. Raises `ValueError` as `field` does."""
    if isinstance(entry, dict) and isinstance(value := entry.get(key), int | str):
        if not isinstance(value, bool):
            return value
        raise ValueError(f"{key} is {shown(value)}, neither a whole number nor text")
    return str(field(entry, key, str))


def flag(value: Any, what: str) -> bool:
    """True or false, also written as text or number; nothing is false. Raises `ValueError`."""
    if value is None or isinstance(value, bool):
        return bool(value)
    if (found := _FLAGS.get(str(value).strip().lower())) is None:
        raise ValueError(f"{what} is {shown(value)}, neither true nor false")
    return found


def numbers(values: Sequence[Any], what: str) -> list[float]:
    """Finite numbers. Raises `ValueError` if one of them is none."""
    if not all(type(value) in (int, float) and abs(value) <= _LARGEST for value in values):
        wrong = shown(list(values)) if len(values) > 1 else shown(values[0])
        wanted = f"{len(values)} numbers" if len(values) > 1 else "a number"
        raise ValueError(f"{what} is {wrong}, not {wanted}")
    return [float(value) for value in values]


def shown(value: Any) -> str:
    """A value as its file has it, shortened."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
