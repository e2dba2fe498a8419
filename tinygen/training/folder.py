"""The folder of a run: whose it is, who is at work in it, and where an earlier one goes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tinygen import checkpoint
from tinygen.errors import UsageError
from tinygen.training.interrupts import say
from tinygen.training.results import read_json

_locks: dict[Path, FileLock] = {}


def take(folder: Path, resume: bool) -> None:
    """Make the folder that of a new run, or with `resume` of the one that is in it; nobody else can until the process ends.

    Only a folder that is empty, or that of a run, is taken.  Without `resume` an earlier run is moved aside, as
    name.previous, name.previous.2 and so on; nothing is ever removed.
    Raises UsageError if another process is at work there, for a folder of somebody's own files, and if nothing can be
    written there.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock(folder)
        if holds_files(folder) and not is_run(folder):
            raise UsageError(
                f"{folder} holds files, and is not the folder of a run: nothing is written there; choose another --out, or "
                "move it away"
            )
        if not resume and any(map(checkpoint.looks_like_one, folder.glob("*.safetensors*"))):
            aside = next_name(folder)
            os.rename(folder, aside)
            say(f"{folder.name}: the earlier run is now in {aside}; with --resume it would have gone on\n")
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise not_writable(folder, error) from error


def not_writable(folder: Path, error: OSError) -> UsageError:
    """What is said when a run's files cannot be written."""
    return UsageError(f"cannot write in {folder}: {error.strerror or error}; choose another --out")


def is_run(folder: Path) -> bool:
    """Whether tinygen has made this folder: by its config.json, or the checkpoint of a Keeper."""
    if checkpoint.exists(folder / "run.safetensors"):
        return True
    lock = folder / "lock"  # what versions without a config.json for every folder have left
    try:
        config(folder)
    except (OSError, ValueError):
        return lock.is_file() and not lock.stat().st_size
    return True


def config(folder: str | Path) -> dict[str, Any]:
    """What config.json of a run's folder holds: {"name": ..., "arguments": {...}}.

    Raises FileNotFoundError if the folder holds no run, ValueError if the file is damaged.
    """
    file = Path(folder) / "config.json"
    if not file.is_file():
        raise FileNotFoundError(f"{folder} is not the folder of a run: there is no config.json in it")
    stored = read_json(file)
    fits = isinstance(stored.get("name"), str) and isinstance(stored.get("arguments"), dict)
    if not fits:
        raise ValueError(
            f'{file} is damaged: {{"name": ..., "arguments": {{...}}}} is expected; the run cannot be read'
        )
    return stored


def holds_files(folder: Path) -> bool:
    """Whether anything is in it, but for what file managers leave."""
    if not folder.is_dir():
        return os.path.lexists(folder)
    return any(name not in (".DS_Store", "Thumbs.db", "desktop.ini") for name in os.listdir(folder))


def next_name(folder: Path) -> Path:
    """name.previous, or with the number after those that are there: name.previous.2, name.previous.3."""
    pattern = re.compile(re.escape(folder.name) + r"\.previous(?:\.(\d{1,9}))?")
    found = [pattern.fullmatch(name) for name in os.listdir(folder.parent)]
    number = max((int(match[1] or 1) for match in found if match), default=0) + 1
    return folder.with_name(f"{folder.name}.previous" + f".{number}" * (number > 1))


def lock(folder: Path) -> None:
    """Raises UsageError if another process is at work in the folder; none can be until this one ends, or `unlock`s it.

    The lock is a file beside the folder, so that it is held while the folder is moved.
    """
    file = _lock_of(folder)
    if file in _locks:
        return
    held = FileLock(file)
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"{folder}: another process is training there; wait for it, or choose another --out") from None
    except NotImplementedError as error:
        raise UsageError(
            f"{folder.parent} cannot be locked, as on some network drives; choose another --out"
        ) from error
    _locks[file] = held


def unlock(folder: Path) -> None:
    """Let others work in the folder."""
    if held := _locks.pop(_lock_of(folder), None):
        held.release()


def _lock_of(folder: Path) -> Path:
    return folder.parent.resolve() / f".{folder.name}.lock"
