"""Changes that nobody expects of the files of a run: values, fields, arrays, bytes, and what stands in a file's place."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

Random = np.random.Generator

# --- values and trees ---------------------------------------------------------------------------------------------------

ESCAPES = "\x1b]0;pwned\x07\x1b[2J\r\n\u202e\u2028\x00$\\frac{1}{$"


KEYS = ["", ESCAPES, "\ud800", "a" * 3000, "$array", "__class__", "epoch", "seed", "data", "size", "0"]
LINES = [b"", b"1", b"[]", b"{}", b'"x"', b"null", b"\xff\xfe", b"[" * 3000, b"9" * 5000, "\u2028\x85".encode()]
STATES = ("recipes", "parts", "loader", "random", "settings", "values")
FOLDERS = (b"run;touch PWNED;#", b"-run", b"--help", b"a b", b"\x1b[2J", b"$(x)", b"\xff\xfe", b"\xe2\x80\xae", b"x\ny")
NAMES = (b"run",) * 12 + (*FOLDERS, b"a" * 200, b"$\\frac{1}{$")
"""What the folder of a run is called: most of the time what its settings say."""
PLACES = ("samples.png", "sample.png", "interpolation.png", "interpolate.png", "metrics.json", "metrics.jsonl", "lock")
PLACES += (
    "config.json",
    "run.safetensors",
    "run_best.safetensors",
    "epochs",
    "epochs/epoch_001.png",
    "epochs/epoch_002.png",
)
PLACES += tuple(f"{name}{end}" for name in PLACES[:10] for end in (".partial", ".previous"))
ARRAYS: list[Callable[[np.ndarray], np.ndarray]] = [
    *(np.ravel, np.transpose, lambda a: a[..., None], lambda a: a[:0], lambda a: a.reshape(-1)[:1]),
    *(lambda a: a.astype(np.float64), lambda a: a.astype(np.int64), lambda a: a > 0, lambda a: a.astype(np.float16)),
    *(lambda a: np.full(a.shape, np.nan, np.float32), lambda a: np.full(a.shape, np.inf, np.float32)),
    *(lambda a: np.full(a.shape, 3e38, np.float32), lambda a: np.full(a.shape, -1e30, np.float32)),
    *(lambda a: np.full(a.shape, 1e300), lambda a: np.full(a.shape, 2**62), lambda a: np.zeros(10**5, np.float32)),
    lambda a: np.zeros((0, 2**40), np.float32),
]


def nest(depth: int, inside: Any = 1, dicts: bool = False) -> Any:
    for _ in range(depth):
        inside = {"a": inside} if dicts else [inside]
    return inside


@cache
def values() -> list[Any]:
    """What no field expects, with WATCHED and PIPE for paths outside the run."""
    # fmt: off
    return [
        *(None, True, False, 0, 1, -1, 2, 3, 7, -(10**9), 10**5, 10**9, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e-320, 1e308),
        *(float("nan"), float("inf"), float("-inf"), "", " ", "0", "-1", "x", "nan", "1e999", ".", "..", "/", "~", "-", "--help"),
        *(ESCAPES, "\ud800", "a" * 5000, "a" * 10**6, "%s%n{0}", "a $\\frac{1}{$ b", "WATCHED/images.npy", "WATCHED", "PIPE"),
        *("../watched", "/dev/zero", "/dev/stdin", "file:///etc/passwd", "mnist", "fashion", "digits", "moons", "cuda", "$array"),
        *([], {}, [[]], [1], [1, 2], [1] * 1000, [0.5] * 10_000, ["x"], [None], [[1], [2, 3]], [-1], [10**9], [True], {"": ""}),
        *({"$array": "nowhere"}, {"$tuple": [1, 2]}, {"$dict": [[[], 1]]}, {"$dict": [[1, 2]]}, {"$tensor": "w"}, {"model": "VAE"}),
        *({"a": {"b": 1}}, {ESCAPES: ESCAPES}, {str(i): i for i in range(1000)}, "__class__", "NaN"),
        *(nest(50), nest(50, dicts=True), nest(900), nest(900, dicts=True)),
    ]
    # fmt: on


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
        name = pick(rng, KEYS)
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
        lines[i] = change_json(rng, lines[i]) if rng.integers(3) else pick(rng, [*LINES, lines[i] * 100])
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
        top = [key for key in STATES if isinstance(tree.get(key), dict)]
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
        arrays[name] = np.ascontiguousarray(pick(rng, ARRAYS)(arrays[name]))
        if rng.integers(4) == 0:
            arrays[pick(rng, ["x", ESCAPES, "a" * 3000, ""])] = arrays.pop(name)
    header = {"format": header.get("format", "1"), "library": pick(rng, ["tinygen", "tinygen", ESCAPES]), "state": text}
    if rng.integers(20) == 0:
        header["format"] = pick(rng, ["2", "", ESCAPES])
    with contextlib.suppress(Exception):
        return save(arrays, header | {"sha256": checkpoint._digest(header, arrays)})
    return content


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


def replace_file(rng: Random, folder: Path, watched: Path) -> None:
    """Something that is no file in the place of one of the run's, or a file where none is expected."""
    place = folder / PLACES[rng.integers(len(PLACES))]
    with contextlib.suppress(OSError):
        place.parent.mkdir(exist_ok=True)
        if not place.parent.resolve().is_relative_to(folder.resolve()):  # by a link made before
            return
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        what = rng.integers(12)
        if what < 4:
            targets = [
                watched,
                *(watched / name for name in ("text", "new", "images.npy", "run.safetensors", "config.json")),
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
