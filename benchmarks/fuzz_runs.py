"""Damaged and hostile folders of runs, and the command line that is pointed at them; benchmarks/fuzz.py counts what goes wrong.

A case is a folder as `tinygen train` makes it, with one to three changes (a field of a JSON file or of a checkpoint's state, which
then gets its right checksum; an array; the bytes of a file; a file replaced by a link, a pipe, a folder, a device, a
terabyte of nothing; odd names), and a command with that folder: sample, interpolate, evaluate, compare, train --resume.

The command may end with status 0 or 2.  A crash is anything else: a traceback, an exception that only the last line of defence
has caught, characters that a terminal would obey, more than SECONDS or MEMORY, a change outside the folder.

Models and data are tiny, and of 32 pictures one is drawn: the others are written without matplotlib's work.  A case depends on the
seed and its number alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import resource
import shutil
import signal
import stat
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import hostile
import numpy as np

Random = np.random.Generator
Files = dict[str, bytes]
MEMORY = 2**30
"""Bytes that a command may ask for beyond what the process had before."""
SECONDS = 5.0
"""Of the processor's time; and WAITING of the clock's, on a machine that is shared with others: for ever is longer."""
WAITING = 60.0
EVERY_PICTURE = 32
KINDS: dict[str, list[str]] = {
    "vae": ["--hidden", "3", "--latent", "2"],
    "gan": ["--hidden", "4", "--latent", "2"],
    "nice": ["--hidden", "3", "--depth", "2"],
    "conv_autoencoder": ["--code", "2"],
    "realnvp": ["--hidden", "2", "--depth", "2"],
    "gaussian_vae": ["--hidden", "3"],
}
"""The models, and their options."""
ON_POINTS = ("realnvp", "gaussian_vae")


# --- a world to run in --------------------------------------------------------------------------------------------------


@dataclass
class World:
    """A folder with everything: templates of runs, what is watched, and a place for cases."""

    base: Path
    templates: dict[str, Files] = field(default_factory=dict)
    watched: dict[str, Any] = field(default_factory=dict)
    """What `signature` says of everything but the case's own folder."""

    @classmethod
    def make(cls, base: Path) -> World:
        world = cls(base)
        (base / "watched").mkdir(parents=True)
        (base / "watched" / "text").write_text("do not touch\n")
        np.save(base / "watched" / "images.npy", np.zeros((8, 8, 8), np.float32))
        os.mkfifo(base / "pipe")
        for folder in ("case", "made", "elsewhere"):
            (base / folder).mkdir()
        with tiny(base):
            for kind, options in KINDS.items():
                command = ["train", kind, *options, "--epochs", "2", "--batch-size", "24", "--device", "cpu"]
                command += [f"--out={base / 'made' / kind}", "--name=run"]
                said = run([*command, *(() if kind in ON_POINTS else ("--data", "digits"))])
                assert said[0] == 0, said
                folder = base / "made" / kind / "run"
                assert run(["evaluate", str(folder)])[0] == 0
                files = sorted(p for p in folder.rglob("*") if p.is_file())
                world.templates[kind] = {str(p.relative_to(folder)): p.read_bytes() for p in files}
        for name in ("run.safetensors", "config.json", "metrics.json"):
            shutil.copy(base / "made" / "vae" / "run" / name, base / "watched" / name)
        world.watched = world.signature()
        return world

    def signature(self) -> dict[str, Any]:
        """Name -> what must not change, of all that is no part of a case."""
        found: dict[str, Any] = {}
        for top in ("watched", "made", "elsewhere", "cache", "."):
            for path in sorted((self.base / top).iterdir() if top == "." else (self.base / top).rglob("*")):
                about = path.lstat()
                if top == "." and stat.S_ISDIR(about.st_mode):
                    found[path.name] = "folder"
                    continue
                content = hashlib.sha256(path.read_bytes()).hexdigest() if top == "watched" and path.is_file() else ""
                found[str(path.relative_to(self.base))] = (
                    about.st_mode,
                    about.st_size,
                    about.st_mtime_ns,
                    about.st_ino,
                    content,
                )
        return found


@contextlib.contextmanager
def tiny(base: Path) -> Iterator[None]:
    """Few images, few points, pictures of few pixels, one parser; the caches of data and classifiers inside `base`."""
    from unittest import mock

    from matplotlib.figure import Figure

    from tinygen import data
    from tinygen.data import ImageDataset, loading
    from tinygen.plot import figure

    cli = importlib.import_module("tinygen.cli.main")  # which the function main hides
    rng = np.random.default_rng(0)
    pixels = (rng.integers(0, 17, (36, 8, 8)) / 16).astype(np.float32)
    sets = (ImageDataset("digits train", pixels[:24], None), ImageDataset("digits test", pixels[24:], None))
    moons, drawn, parser = data.two_moons, Figure.savefig, cache(cli.parser)

    def savefig(self: Any, file: Any, **options: Any) -> None:
        if tiny.drawn % EVERY_PICTURE == 0:  # type: ignore[attr-defined]
            drawn(self, file, **options)
        else:
            Path(file).write_bytes(b"a picture")

    (base / "cache").mkdir(exist_ok=True)
    environment = {name: str(base / "cache") for name in ("TINYGEN_DATA", "TINYGEN_JUDGES", "XDG_CACHE_HOME", "HOME")}
    with (
        mock.patch.dict(loading.SETS, dict.fromkeys(loading.SETS, lambda: sets)),
        mock.patch.object(data, "two_moons", lambda n, *a, **k: moons(min(n, 40), *a, **k)),
        mock.patch.object(cli, "parser", parser),
        mock.patch.object(Figure, "savefig", savefig),
        mock.patch.dict(figure.STYLE, {"savefig.dpi": 20}),
        mock.patch.dict(os.environ, environment),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")
        here = os.getcwd()
        os.chdir(base / "elsewhere")
        try:
            yield
        finally:
            os.chdir(here)


tiny.drawn = 0  # type: ignore[attr-defined]


class TooLong(BaseException):
    """No handler of exceptions catches it."""


def run(words: list[str]) -> tuple[Any, str]:
    """(exit status, all that was printed) of a command; a traceback is printed, too."""
    from tinygen.cli import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status: Any = main(words)
        except SystemExit as end:
            status = end.code
        except TooLong:
            status = "too long"
        except BaseException:
            status = "traceback"
            said.write(traceback.format_exc())
    return status, said.getvalue()


# --- cases --------------------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """What happened.  crash: "" or what went wrong."""

    number: int
    kind: str
    command: str
    status: Any
    crash: str
    seconds: float
    peak: float
    said: str


def prepare(world: World, seed: int, number: int) -> tuple[Path, list[str], str]:
    """Make the folder of a case: (the folder, the command with it, the kind of model)."""
    rng = np.random.default_rng([seed, number])
    kind = list(KINDS)[rng.integers(len(KINDS))]
    files = dict(world.templates[kind])
    important = [name for name in files if name.endswith((".json", ".jsonl", "run.safetensors"))]
    changes = int(rng.integers(1, 4)) if rng.integers(50) else 0
    replaced = 0
    for _ in range(changes):
        if rng.integers(5) == 0:
            replaced += 1
            continue
        name = hostile.pick(rng, important if rng.integers(10) else list(files))
        if rng.integers(25) == 0:
            files.pop(name, None)
        elif name in files:
            files[name] = hostile.change_file(rng, name, files[name])
    paths = {"WATCHED": str(world.base / "watched"), "PIPE": str(world.base / "pipe")}
    folder = Path(
        os.fsdecode(os.path.join(os.fsencode(world.base / "case"), hostile.NAMES[rng.integers(len(hostile.NAMES))]))
    )
    for name, content in files.items():
        for word, path in paths.items() if name.endswith(".json") else ():
            content = content.replace(word.encode(), path.encode())
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for _ in range(replaced):
        hostile.replace_file(rng, folder, world.base / "watched")
    words = ["sample", "interpolate", "evaluate", "compare", "train"][rng.integers(5)]
    if words == "train":
        options = [*KINDS[kind], "--epochs", str(rng.integers(2, 4)), "--batch-size", "24", "--device", "cpu"]
        command = ["train", kind, *options, f"--out={folder.parent}", f"--name={folder.name}", "--resume"]
        return folder, [*command, *(() if kind in ON_POINTS else ("--data", "digits"))], kind
    command = {
        "sample": ["sample", "-n", "4"],
        "interpolate": ["interpolate", "-n", "1", "--steps", "2"],
        "evaluate": ["evaluate", *(["--again"] if rng.integers(2) else [])],
        "compare": [
            "compare",
            "--out",
            str(folder / "losses.png"),
            *(["--csv", str(folder / "numbers.csv")] if rng.integers(2) else []),
        ],
    }[words]
    good = [str(world.base / "made" / kind / "run")] if words == "compare" and rng.integers(2) else []
    return folder, [*command, *good, str(folder)], kind


def attempt(world: World, seed: int, number: int) -> Case:
    """One case, from the folder to the verdict; afterwards the folder is gone.  To be called inside `tiny`."""
    from tinygen.training.run import unlock

    folder, words, kind = prepare(world, seed, number)
    tiny.drawn = number  # type: ignore[attr-defined]
    before, limits = resident(), resource.getrlimit(resource.RLIMIT_DATA)
    for alarm in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(alarm, too_long)
    resource.setrlimit(resource.RLIMIT_DATA, (allocated() + MEMORY, limits[1]))
    signal.setitimer(signal.ITIMER_REAL, WAITING)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    start = time.process_time()
    try:
        status, said = run(words)
    except TooLong:
        status, said = "too long", ""
    finally:
        for timer in (signal.ITIMER_REAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        resource.setrlimit(resource.RLIMIT_DATA, limits)
    seconds, peak = time.process_time() - start, (peak_resident() - before) / 1e6
    with contextlib.suppress(Exception):
        unlock(folder)
    crash = verdict(status, said)
    found = world.signature()
    if found != world.watched:
        changed = sorted(key for key in {**found, **world.watched} if found.get(key) != world.watched.get(key))
        details = {key: (world.watched.get(key), found.get(key)) for key in changed}
        crash, world.watched = f"changed outside the folder: {details}", found
    made = [name for name in os.listdir(world.base / "case") if name not in (folder.name, f".{folder.name}.lock")]
    if made:
        crash = crash or f"made outside the folder: {made}"
    shutil.rmtree(world.base / "case")
    (world.base / "case").mkdir()
    return Case(number, kind, words[0], status, crash, seconds, peak, said)


def verdict(status: Any, said: str) -> str:
    """What is wrong with an exit status and an output; "" if nothing is."""
    if status not in (0, 2):
        return f"status {status}: {said[-600:]}"
    if "Traceback" in said or "(unexpected;" in said:
        return said[-600:]
    if "not enough memory" in said or "Unable to allocate" in said or "MemoryError" in said:
        return f"more memory than {MEMORY / 1e6:.0f} MB: {said[-300:]}"
    if not all(line.isprintable() for line in said.split("\n")):
        return f"not printable: {said!r}"[:600]
    return "" if status == 0 or said else "no message"


def too_long(*_: Any) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.5)  # once more, if a destructor swallows it
    raise TooLong


def allocated() -> int:
    """Bytes of memory of the process's own: files that are mapped, and not read, cost nothing."""
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()


def resident() -> int:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak_resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


# --- many of them -------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """Counts over cases."""

    cases: int = 0
    by_command: Counter[str] = field(default_factory=Counter)
    crashes: list[dict[str, Any]] = field(default_factory=list)
    slowest: float = 0.0
    peak: float = 0.0

    def add(self, case: dict[str, Any]) -> None:
        self.cases += 1
        self.by_command[f"{case['command']} {'done' if case['status'] == 0 else 'refused'}"] += 1
        self.slowest, self.peak = max(self.slowest, case["seconds"]), max(self.peak, case["peak"])
        if case["crash"]:
            self.crashes.append(case)


def many(first: int, last: int, seed: int, report: Callable[[dict[str, Any]], None]) -> None:
    """The cases first, ..., last - 1, in a child process for every 500 of them; one that dies or hangs is a crash and goes on."""
    with tempfile.TemporaryDirectory() as base:
        world = World.make(Path(base) / "world")
        at = first
        while at < last:
            end = min(at + 500, last)
            done = at
            for case in in_child(world, seed, at, end):
                report(case)
                done = case["number"] + 1
            if done < end:
                report(
                    {
                        "number": done,
                        "kind": "?",
                        "command": "?",
                        "status": "?",
                        "crash": "the process died or hung",
                        "seconds": 0.0,
                        "peak": 0.0,
                    }
                )
                shutil.rmtree(world.base / "case", ignore_errors=True)
                (world.base / "case").mkdir()
                done += 1
            at = done


def at_once(jobs: int, last: int, seed: int, report: Callable[[dict[str, Any]], None]) -> None:
    """The cases 0, ..., last - 1, shared among so many processes, each with its own world."""
    import multiprocessing

    context = multiprocessing.get_context("fork")
    queue: Any = context.Queue()

    def share(job: int) -> None:
        many(last * job // jobs, last * (job + 1) // jobs, seed, queue.put)
        queue.put(None)

    processes = [context.Process(target=share, args=(job,)) for job in range(jobs)]
    for process in processes:
        process.start()
    working = jobs
    while working:
        case = queue.get(timeout=600)
        if case is None:
            working -= 1
        else:
            report(case)


def in_child(world: World, seed: int, first: int, last: int) -> Iterator[dict[str, Any]]:
    """What a forked process says of these cases, until it ends or says nothing for twice WAITING."""
    import select

    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "w") as pipe, tiny(world.base):
                for number in range(first, last):
                    case = vars(attempt(world, seed, number)).copy()
                    if not case["crash"]:
                        del case["said"]
                    pipe.write(json.dumps(case) + "\n")
                    pipe.flush()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    try:
        rest = b""
        while select.select([reading], [], [], 2 * WAITING)[0] and (part := os.read(reading, 2**16)):
            *lines, rest = (rest + part).split(b"\n")
            yield from map(json.loads, lines)
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def main() -> int:
    """For a look at single cases: python benchmarks/fuzz_runs.py FIRST LAST [SEED]."""
    first, last, seed = (*map(int, sys.argv[1:]), 0)[:3]
    tally = Tally()

    def report(case: dict[str, Any]) -> None:
        tally.add(case)
        if case["crash"]:
            print(f"CRASH {case['number']} {case['command']} {case['kind']}: {case['crash'][:700]}", flush=True)

    start = time.perf_counter()
    many(first, last, seed, report)
    print(
        f"{tally.cases} cases, {len(tally.crashes)} crashes, {time.perf_counter() - start:.0f} s, slowest {tally.slowest:.2f} s, peak {tally.peak:.0f} MB"
    )
    print(dict(tally.by_command))
    return bool(tally.crashes)


if __name__ == "__main__":
    sys.exit(main())
