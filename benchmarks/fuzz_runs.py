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

import numpy as np

Random = np.random.Generator
Files = dict[str, bytes]
MEMORY = 2**30
"""Bytes of address space that a command may ask for beyond what the process had before."""
SECONDS = 5.0
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


# --- values and trees ---------------------------------------------------------------------------------------------------

ESCAPES = "\x1b]0;pwned\x07\x1b[2J\r\n\u202e\u2028\x00$\\frac{1}{$"


def nest(depth: int, inside: Any = 1, dicts: bool = False) -> Any:
    for _ in range(depth):
        inside = {"a": inside} if dicts else [inside]
    return inside


@cache
def values() -> list[Any]:
    """What no field expects, with WATCHED and PIPE for paths outside the run."""
    return [
        *(None, True, False, 0, 1, -1, 2, 3, 7, -(10**9), 10**5, 10**9, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e-320, 1e308),
        *(float("nan"), float("inf"), float("-inf"), "", " ", "0", "-1", "x", "nan", "1e999", ".", "..", "/", "~", "-", "--help"),
        *(ESCAPES, "\ud800", "a" * 5000, "a" * 10**6, "%s%n{0}", "a $\\frac{1}{$ b", "WATCHED/images.npy", "WATCHED", "PIPE", "../watched"),
        *("/dev/zero", "/dev/stdin", "file:///etc/passwd", "mnist", "fashion", "digits", "moons", "cuda", "__class__", "NaN", "$array"),
        *([], {}, [[]], [1], [1, 2], [1] * 1000, [0.5] * 10_000, ["x"], [None], [[1], [2, 3]], [-1], [10**9], [True]),
        *({"$array": "nowhere"}, {"$tuple": [1, 2]}, {"$dict": [[[], 1]]}, {"$dict": [[1, 2]]}, {"$tensor": "w"}, {"": ""}, {"model": "VAE"}),
        *({"a": {"b": 1}}, {ESCAPES: ESCAPES}, {str(i): i for i in range(1000)}, nest(50), nest(50, dicts=True), nest(900), nest(900, dicts=True)),
    ]  # fmt: skip


def places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to all that is in dicts and lists."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree[:50]) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*at, key)
        yield from places(value, (*at, key))


def inside(tree: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        tree = tree[step]
    return tree


def change_tree(rng: Random, tree: Any) -> Any:
    """One field replaced, renamed, left out, doubled, exchanged with another, or a new one."""
    found = list(places(tree))
    if not found or rng.integers(30) == 0:
        return pick(rng, values())
    path = found[rng.integers(len(found))]
    parent, key, what = inside(tree, path[:-1]), path[-1], rng.integers(10)
    if what < 6:
        parent[key] = near(rng, parent[key])
    elif what == 6:
        del parent[key]
    elif what == 7:
        other = found[rng.integers(len(found))]
        value = inside(tree, other)
        parent[key] = json.loads(json.dumps(value))
    elif isinstance(parent, dict):
        name = pick(
            rng, ["", ESCAPES, "\ud800", "a" * 3000, "$array", "__class__", "epoch", "seed", "data", "size", "0"]
        )
        parent[name] = parent.pop(key) if what == 8 else pick(rng, values())
    else:
        parent[key:key] = [parent[key]] * int(pick(rng, [1, 2, 100]))
    return tree


def near(rng: Random, value: Any) -> Any:
    """Half of the time something that is nearly right."""
    if rng.integers(2):
        return pick(rng, values())
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return pick(rng, [value + 1, -value, value * 1000, value * 10**6, value / 3, str(value), [value], float(value)])
    if isinstance(value, str):
        return pick(rng, [value + ESCAPES, value[:-1], value * 3, value.upper(), [value], len(value)])
    if isinstance(value, list):
        return pick(rng, [value[:-1], value * 2, value * 1000, [*value, None], {"x": value}, [value]])
    return pick(rng, [[value], {"x": value}, list(value or ()), {}])


def pick(rng: Random, choices: list[Any]) -> Any:
    """One of them; JSON's own copy, since changes go on."""
    value = choices[rng.integers(len(choices))]
    return json.loads(json.dumps(value)) if isinstance(value, dict | list) and value else value


# --- files --------------------------------------------------------------------------------------------------------------


def change_json(rng: Random, content: bytes) -> bytes:
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return content
    return encoded(change_tree(rng, tree))


def encoded(tree: Any) -> bytes:
    return json.dumps(tree, ensure_ascii=False).encode("utf-8", "surrogatepass")


def change_lines(rng: Random, content: bytes) -> bytes:
    lines = content.split(b"\n")
    for _ in range(rng.integers(1, 4)):
        i = int(rng.integers(len(lines)))
        odd = [
            b"",
            b"1",
            b"[]",
            b"{}",
            b'"x"',
            b"null",
            b"\xff\xfe",
            b"[" * 3000,
            b"9" * 5000,
            "\u2028\x85".encode(),
            lines[i] * 100,
        ]
        lines[i] = change_json(rng, lines[i]) if rng.integers(3) else pick(rng, odd)
    return b"\n".join(lines * int(pick(rng, [1, 1, 1, 50])))


def change_checkpoint(rng: Random, content: bytes) -> bytes:
    """The state's text or an array, with the right checksum behind it."""
    from safetensors.numpy import load, save

    from tinygen import checkpoint

    try:
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])["__metadata__"]
        arrays, text = load(content), header["state"]
        tree: dict[str, Any] = dict(json.loads(text))
    except Exception:  # changed before
        return content
    if rng.integers(3):
        top = [
            key
            for key in ("recipes", "parts", "loader", "random", "settings", "values")
            if isinstance(tree.get(key), dict)
        ]
        if top and rng.integers(2):  # the states of optimizers are large, and would take nearly all changes
            key = pick(rng, top)
            tree[key] = change_tree(rng, tree[key])
        else:
            tree = change_tree(rng, tree)
        text = json.dumps(tree, ensure_ascii=True)
        if rng.integers(20) == 0:
            text = text.replace("1", "1" * int(pick(rng, [300, 5000])), 1)
    elif arrays:
        name = pick(rng, sorted(arrays))
        arrays[name] = change_array(rng, arrays[name])
        if rng.integers(4) == 0:
            arrays[pick(rng, ["x", ESCAPES, "a" * 3000, ""])] = arrays.pop(name)
    header = {"format": header.get("format", "1"), "library": pick(rng, ["tinygen", "tinygen", ESCAPES]), "state": text}
    if rng.integers(20) == 0:
        header["format"] = pick(rng, ["2", "", ESCAPES])
    with contextlib.suppress(Exception):
        return save(arrays, header | {"sha256": checkpoint._digest(header, arrays)})
    return content


def change_array(rng: Random, array: np.ndarray) -> np.ndarray:
    ways: list[Callable[[np.ndarray], np.ndarray]] = [
        *(
            lambda a: a[..., None],
            lambda a: a.reshape(-1),
            lambda a: a[:0],
            lambda a: a.reshape(-1)[:1],
            lambda a: a.T.copy(),
        ),
        *(
            lambda a: a.astype(np.float64),
            lambda a: a.astype(np.int64),
            lambda a: a > 0,
            lambda a: a.astype(np.float16),
        ),
        *(lambda a: np.full(a.shape, np.nan, np.float32), lambda a: np.full(a.shape, np.inf, np.float32)),
        *(
            lambda a: np.full(a.shape, 3e38, np.float32),
            lambda a: np.zeros((0, 2**40), np.float32),
            lambda a: np.zeros(10**5, np.float32),
        ),
        *(
            lambda a: np.full(a.shape, 1e300),
            lambda a: np.full(a.shape, -1e30, np.float32),
            lambda a: np.full(a.shape, 2**62),
        ),
    ]
    return np.ascontiguousarray(ways[rng.integers(len(ways))](array))


def change_bytes(rng: Random, content: bytes) -> bytes:
    import fuzz

    return fuzz.changed(rng, [content, content])


def change_file(rng: Random, name: str, content: bytes) -> bytes:
    if rng.integers(5) == 0:
        return change_bytes(rng, content)
    if ".safetensors" in name:
        return change_checkpoint(rng, content)
    if name.endswith(".json"):
        return change_json(rng, content)
    return change_lines(rng, content) if name.endswith(".jsonl") else change_bytes(rng, content)


PLACES = (
    "samples.png",
    "sample.png",
    "interpolation.png",
    "interpolate.png",
    "metrics.json",
    "metrics.jsonl",
    "lock",
    "config.json",
)
PLACES += ("run.safetensors", "run_best.safetensors", "epochs", "epochs/epoch_001.png", "epochs/epoch_002.png")
PLACES += tuple(f"{name}{end}" for name in PLACES[:10] for end in (".partial", ".previous"))


def replace_file(rng: Random, folder: Path, watched: Path) -> None:
    """Something that is no file in the place of one of the run's, or a file where none is expected."""
    place = folder / PLACES[rng.integers(len(PLACES))]
    with contextlib.suppress(OSError):
        place.parent.mkdir(exist_ok=True)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        what = rng.integers(12)
        if what < 4:
            targets = [
                watched / "text",
                watched / "images.npy",
                watched,
                watched / "new",
                watched / "run.safetensors",
                watched / "config.json",
            ]
            place.symlink_to(targets[rng.integers(len(targets))])
        elif what == 4:
            os.link(watched / "text", place)
        elif what == 5:
            place.symlink_to(place.name if rng.integers(2) else folder)
        elif what == 6:
            os.mkfifo(place)
        elif what == 7:
            place.mkdir()
            (place / "x").write_bytes(b"x") if rng.integers(2) else None
        elif what == 8:
            place.symlink_to(pick(rng, ["/dev/zero", "/dev/null", "/dev/full", "/dev/stdin", "/proc/self/mem"]))
        elif what == 9:
            with open(place, "wb") as file:
                file.truncate(int(pick(rng, [0, 2**32, 2**40])))
        elif what == 10:
            place.write_bytes(rng.bytes(int(rng.integers(3000))))
        else:
            others = sorted(p for p in folder.iterdir() if p.is_file() and not p.is_symlink())
            place.write_bytes(others[rng.integers(len(others))].read_bytes()) if others else None


NAMES = (b"run",) * 12 + (
    b"run;touch PWNED;#",
    b"-run",
    b"--help",
    b"a b",
    b"\x1b[2J",
    b"$(x)",
    b"\xff\xfe",
    b"\xe2\x80\xae",
    b"x\ny",
    b"a" * 200,
    b"$\\frac{1}{$",
)


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
        name = pick(rng, important if rng.integers(10) else list(files))
        if rng.integers(25) == 0:
            files.pop(name, None)
        elif name in files:
            files[name] = change_file(rng, name, files[name])
    paths = {"WATCHED": str(world.base / "watched"), "PIPE": str(world.base / "pipe")}
    folder = Path(os.fsdecode(os.path.join(os.fsencode(world.base / "case"), NAMES[rng.integers(len(NAMES))])))
    for name, content in files.items():
        for word, path in paths.items() if name.endswith(".json") else ():
            content = content.replace(word.encode(), path.encode())
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for _ in range(replaced):
        replace_file(rng, folder, world.base / "watched")
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
    before, limits = resident(), resource.getrlimit(resource.RLIMIT_AS)
    signal.signal(signal.SIGALRM, too_long)
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + MEMORY, limits[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    start = time.perf_counter()
    try:
        status, said = run(words)
    except TooLong:
        status, said = "too long", ""
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
    seconds, peak = time.perf_counter() - start, (peak_resident() - before) / 1e6
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


def address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


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


def in_child(world: World, seed: int, first: int, last: int) -> Iterator[dict[str, Any]]:
    """What a forked process says of these cases, until it ends or says nothing for four times SECONDS."""
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
        while select.select([reading], [], [], 4 * SECONDS)[0] and (part := os.read(reading, 2**16)):
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
