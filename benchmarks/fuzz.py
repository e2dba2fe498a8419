"""Throws damaged and malicious files at everything that reads files, and counts what goes wrong.

    python benchmarks/fuzz.py                          20,000 files for every reader; some minutes; stores results/fuzz.json
    python benchmarks/fuzz.py --inputs 500 npz idx     a few for some readers; stores nothing
    python benchmarks/fuzz.py "run folders"            100,000 whole folders of runs (fuzz_runs.py); hours; stores them there, too

A reader may do two things with a file: return what is in it, or raise the one error that it documents, with the file's name
in the message.  Anything else counts as a crash: another exception, a message that does not say which file, pixels that are
none, more than 5 seconds, more memory than MEMORY (for pictures PICTURE).

The files are valid ones with bits flipped, the end cut off, parts repeated, exchanged or left out, numbers in headers and
texts replaced by absurd ones; and noise.  Half of those that have a checksum or are compressed are changed before they get it,
so that the change arrives behind it.  A seed gives the same files; those that crash a reader are kept in runs/fuzz/.

Exit status 1 if there are crashes.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import io
import json
import platform
import re
import struct
import sys
import tempfile
import time
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import tinygen
from tinygen import checkpoint, data, interchange, training
from tinygen.data import images
from tinygen.data.folder import MAX_PIXELS
from tinygen.models import Result

ROOT = Path(__file__).resolve().parent.parent
MEMORY = 2**26
"""Bytes that Python and NumPy may have in use at once for one file; the files have some thousand."""
PICTURE = 8 * MAX_PIXELS
"""The same for a picture, which may rightly be large and of one colour in a few bytes."""
PROCESS = 2**31
"""Bytes of address space beyond those at the start, all libraries counted: an allocation past that fails."""
SECONDS = 5.0

MACHINE = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}"
RUNS = "run folders"

Random = np.random.Generator


# --- changes ------------------------------------------------------------------------------------------------------------


def cut(rng: Random, a: bytes, b: bytes) -> bytes:
    return a[: rng.integers(len(a) + 1)]


def flip(rng: Random, a: bytes, b: bytes) -> bytes:
    changed = bytearray(a)
    for at in rng.integers(8 * max(len(a), 1), size=rng.integers(1, 9)):
        if a:
            changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


def splice(rng: Random, a: bytes, b: bytes) -> bytes:
    """The beginning of one valid file and the end of another."""
    return a[: rng.integers(len(a) + 1)] + b[rng.integers(len(b) + 1) :]


def leave_out(rng: Random, a: bytes, b: bytes) -> bytes:
    start, end = sorted(rng.integers(len(a) + 1, size=2))
    return a[:start] + a[end:]


def repeat(rng: Random, a: bytes, b: bytes) -> bytes:
    start = rng.integers(len(a) + 1)
    return a[:start] + a[start : start + rng.integers(1, 65)] * int(rng.integers(2, 50)) + a[start:]


NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def number(rng: Random, a: bytes, b: bytes) -> bytes:
    """An absurd number in the first bytes or in the last ones, where formats keep their sizes."""
    kind = "<>"[rng.integers(2)] + "BHIQ"[rng.integers(4)]
    value = struct.pack(kind, NUMBERS[rng.integers(len(NUMBERS))] % 256 ** struct.calcsize(kind))
    at = int(rng.integers(min(len(a), 256) + 1))
    at = len(a) - at if rng.integers(4) == 0 else at
    return a[:at] + value + a[at + len(value) :]


WORDS = (
    *(b"NaN", b"Infinity", b"-1", b"1e999", b"18446744073709551616", b"9" * 5000, b"null", b"true", b"0x10", b"1_0"),
    *(
        b"[" * 3000,
        b'{"a":' * 3000,
        b"(" * 3000,
        b"[]",
        b"{}",
        b'"',
        b"'",
        b"\\",
        b"\0",
        b"\xff\xfe",
        "٣".encode(),
        b"\n",
    ),
    *(b'{"$array": 0}', b'{"$tuple": 1}', b'{"$dict": [[[], 1]]}', b'{"$array": "nowhere"}', b"|O", b"<f8", b"|V8"),
    *(b"__import__('os').abort()", b"../../", b"/etc/passwd", b"%s%n", b",", b":", b" "),
)


def word(rng: Random, a: bytes, b: bytes) -> bytes:
    """A number or name in a text replaced by something that is none, or something put between two of them."""
    found = list(re.finditer(rb"[\w.|<>$-]+", a[:4096]))
    if not found:
        return a + WORDS[rng.integers(len(WORDS))]
    match = found[rng.integers(len(found))]
    return a[: match.start()] + WORDS[rng.integers(len(WORDS))] + a[match.end() if rng.integers(2) else match.start() :]


def noise(rng: Random, a: bytes, b: bytes) -> bytes:
    """Nothing of the file is left, except, perhaps, its first bytes."""
    return a[: rng.integers(2) * rng.integers(17)] + rng.bytes(int(rng.integers(200)))


CHANGES = (cut, flip, flip, splice, leave_out, repeat, number, number, word, word, noise)


def changed(rng: Random, files: Sequence[bytes]) -> bytes:
    """One of the files after one to three changes."""
    result = files[rng.integers(len(files))]
    for _ in range(rng.integers(1, 4)):
        result = CHANGES[rng.integers(len(CHANGES))](rng, result, files[rng.integers(len(files))])
    return result


# --- readers ------------------------------------------------------------------------------------------------------------


@dataclass
class Reader:
    """What reads a kind of file, and how to make such files.

    valid: the contents of some valid files.  before: contents that `seal` makes a file of, compressed or with its checksum;
    half of the inputs are those with changes.  memory: bytes that one file may take.  fits: whether what the reader returned is what it promises.
    """

    file: str
    read: Callable[[Path], Any]
    valid: Sequence[bytes]
    before: Sequence[bytes] = ()
    seal: Callable[[bytes], bytes] = bytes
    error: type[Exception] = data.DataError
    fits: Callable[[Any], bool] = lambda value: isinstance(value, np.ndarray)
    share: float = 1.0
    memory: int = MEMORY

    def content(self, rng: Random) -> bytes:
        if self.before and rng.integers(2):
            return self.seal(changed(rng, self.before))
        return changed(rng, self.valid)


def readers() -> dict[str, Reader]:
    """All of them."""
    rng = np.random.default_rng(0)
    pictures = [
        rng.integers(0, 256, (4, 6, 5), np.uint8),
        np.zeros((9, 3, 4, 4), np.float32),
        np.eye(6)[None].repeat(3, 0) > 0,
    ]
    labels = np.arange(4, dtype=np.int64)
    npy = [npy_bytes(a) for a in (*pictures, pictures[0].astype("<f8").T / 255, labels)]
    idx = [idx_bytes(pictures[0]), idx_bytes(labels.astype(np.uint8))]
    libsvm = [
        b"".join(
            b"%d " % rng.integers(1, 11)
            + b" ".join(b"%d:%.4f" % (i + 1, x) for i, x in enumerate(rng.uniform(-1, 1, 256)))
            + b"\n"
            for _ in range(2)
        )
        for _ in range(2)
    ]
    amat = [b"".join(b" ".join(rng.choice([b"0", b"1"], 784)) + b"\n" for _ in range(2)) for _ in range(2)]
    states = [
        {"w": pictures[0], "epoch": 3, "t": (1, [None, "x"])},
        {"settings": {1: 2.5, "$a": True}, "w": labels, "e": {}},
    ]
    texts, saved = zip(*(checkpoint_bytes(state) for state in states))
    dataset = Reader("mine.npy", data.load, npy, fits=are_images)
    return {
        "idx": Reader("file-idx", data.read_idx, [gzip.compress(c) for c in idx], idx, maybe_gzip(rng)),
        "npy": Reader("mine.npy", data.read_npy, npy),
        "npz": Reader("mine.npz", lambda f: data.read_npz(f, "images"), [npz_bytes(c) for c in npy], npy, npz_bytes),
        "load an .npy": dataset,
        "load an .npz": Reader("mine.npz", data.load, [npz_bytes(c) for c in npy], npy, npz_bytes, fits=are_images),
        "load a folder": Reader("mine.png", load_beside, encoded(), fits=are_images, share=0.25, memory=PICTURE),
        "libsvm": Reader(
            "usps.bz2", lambda f: images._read_libsvm(f, 2)[0], [bz2.compress(c) for c in libsvm], libsvm, bz2.compress
        ),
        "amat": Reader("bits.amat", lambda f: images._read_amat(f, 2), amat),
        "checkpoint": Reader(
            "run.safetensors",
            checkpoint.load,
            saved,
            texts,
            signed,
            checkpoint.CheckpointError,
            lambda v: isinstance(v, dict),
        ),
        "weights": Reader(
            "model.safetensors",
            interchange.load_file,
            [weights_bytes(state) for state in ({"w": pictures[1]}, {"a.b": labels, "c": pictures[2]})],
            error=ValueError,
            fits=lambda v: isinstance(v, dict) and all(isinstance(t, tinygen.Tensor) for t in v.values()),
        ),
        "configuration": Reader(
            "config.json",
            lambda f: training.config(f.parent),
            [json.dumps({"name": "vae", "arguments": {"lr": 1e-3, "seed": 0, "data": None}}, indent=2).encode()],
            error=ValueError,
            fits=lambda v: isinstance(v["name"], str) and isinstance(v["arguments"], dict),
        ),
    }


def are_images(parts: Any) -> bool:
    return all(
        isinstance(part, data.ImageDataset) and len(part) and 0 <= part.images.min() <= part.images.max() <= 1
        for part in parts
    )


def npy_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz_bytes(member: bytes) -> bytes:
    """An archive whose checksums are right, whatever its members hold."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if len(member) % 2 else zipfile.ZIP_STORED) as archive:
        archive.writestr("images.npy", member)
    return stream.getvalue()


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def maybe_gzip(rng: Random) -> Callable[[bytes], bytes]:
    return lambda content: gzip.compress(content, 1) if rng.integers(2) else content


def checkpoint_bytes(state: dict[str, Any]) -> tuple[bytes, bytes]:
    """Its state as the text that stands in the file, and the file."""
    with tempfile.TemporaryDirectory() as folder:
        content = checkpoint.save(Path(folder, "x"), state).read_bytes()
    arrays: dict[str, np.ndarray] = {}
    return json.dumps(checkpoint._pack(state, "", arrays)).encode(), content


def weights_bytes(tensors: dict[str, np.ndarray]) -> bytes:
    from safetensors.numpy import save

    return save(tensors)


def signed(text: bytes) -> bytes:
    """A checkpoint with this text as its state, one array, and the right checksum."""
    from safetensors.numpy import save

    arrays = {"w": np.arange(6, dtype=np.float32)}
    header = {"format": checkpoint.FORMAT, "library": "tinygen", "state": text.decode("utf-8", "replace")}
    return save(arrays, header | {"sha256": checkpoint._digest(header, arrays)})


def encoded() -> list[bytes]:
    """Small pictures in every format."""
    from PIL import Image

    rng, files = np.random.default_rng(0), []
    grey, colour = rng.integers(0, 256, (8, 8), np.uint8), rng.integers(0, 256, (8, 8, 3), np.uint8)
    for array, kinds in (
        (grey, ("png", "jpeg", "gif", "bmp")),
        (colour, ("png", "jpeg", "bmp")),
        (grey * np.uint16(257), ("png",)),
    ):
        for kind in kinds:
            stream = io.BytesIO()
            Image.fromarray(array).save(stream, kind)
            files.append(stream.getvalue())
    return files


def load_beside(file: Path) -> Any:
    """The folder of the file, with a good picture in it too."""
    if not (good := file.with_name("good.png")).exists():
        good.write_bytes(encoded()[0])
    return data.load(file.parent)


# --- counting -----------------------------------------------------------------------------------------------------------


@dataclass
class Count:
    reader: str
    inputs: int = 0
    refused: int = 0
    accepted: int = 0
    crashes: list[tuple[bytes, str]] = field(default_factory=list)
    slowest: float = 0.0
    """Milliseconds for one file."""
    peak: float = 0.0
    """MB in use for one file, as Python and NumPy count them."""

    def row(self) -> dict[str, Any]:
        return {
            **vars(self),
            "crashes": len(self.crashes),
            "slowest": round(self.slowest, 1),
            "peak": round(self.peak, 2),
        }


def fuzz(name: str, reader: Reader, inputs: int, seed: int, folder: Path) -> Count:
    """Give the reader so many files, written to `folder` one after the other."""
    count, rng = Count(name), np.random.default_rng([seed, *name.encode()])
    file = folder / reader.file
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(inputs):
            content = reader.content(rng)
            file.write_bytes(content)
            outcome, seconds, memory = attempt(reader, file)
            count.inputs += 1
            count.slowest, count.peak = max(count.slowest, 1e3 * seconds), max(count.peak, memory / 1e6)
            count.refused += outcome == "refused"
            count.accepted += outcome == "accepted"
            if seconds > SECONDS or memory > reader.memory:
                outcome = f"{seconds:.1f} s, {memory / 1e6:.0f} MB"
            if outcome not in ("refused", "accepted"):
                count.crashes.append((content, outcome))
    return count


def attempt(reader: Reader, file: Path) -> tuple[str, float, int]:
    """("refused", "accepted" or what else happened, seconds, bytes in use at the peak)."""
    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start()
    tracemalloc.reset_peak()
    before, start = tracemalloc.get_traced_memory()[0], time.perf_counter()
    try:
        value = reader.read(file)
        outcome = "accepted" if reader.fits(value) else f"returned {str(value)[:100]}"
    except reader.error as error:
        # A subclass is no document: UnicodeDecodeError and JSONDecodeError are ValueErrors, too.
        proper = type(error) is reader.error and file.name in str(error)
        outcome = "refused" if proper else f"{type(error).__name__} that does not name the file: {error}"
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    seconds, memory = time.perf_counter() - start, tracemalloc.get_traced_memory()[1] - before
    if started:
        tracemalloc.stop()
    return outcome, seconds, memory


def limit_memory() -> None:
    """Whatever asks for more address space gets a MemoryError (Linux)."""
    with suppress(ImportError, OSError):
        import resource

        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + PROCESS, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main(arguments: Sequence[str] | None = None) -> int:
    every = readers()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "readers", nargs="*", metavar="READER", help=f"of {', '.join(every)} (default: all); or {RUNS}, alone"
    )
    parser.add_argument(
        "--inputs", type=int, default=20_000, help="files for each reader (default: 20000; pictures a quarter)"
    )
    parser.add_argument("--folders", type=int, default=100_000, help="folders of runs (default: 100000)")
    parser.add_argument("--jobs", type=int, default=2, help="processes for the folders (default: 2)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    if args.readers == [RUNS]:
        return folders(args)
    if unknown := {*args.readers} - every.keys():
        parser.error(f"no such reader: {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    limit_memory()
    start, counts, kept = time.perf_counter(), [], ROOT / "runs" / "fuzz"
    for name in args.readers or every:
        with tempfile.TemporaryDirectory() as folder:
            counts.append(fuzz(name, every[name], int(args.inputs * every[name].share), args.seed, Path(folder)))
        for i, (content, outcome) in enumerate(counts[-1].crashes):
            kept.mkdir(parents=True, exist_ok=True)
            (kept / f"{name.replace(' ', '_')}_{i}").write_bytes(content)
            if i < 5:
                print(f"CRASH  {name}, {kept / name.replace(' ', '_')}_{i}: {outcome[:200]}", flush=True)
    headers = {"slowest": "slowest (ms)", "peak": "peak (MB)"}
    rows = [{headers.get(key, key): value for key, value in count.row().items()} for count in counts]
    print(training.table(rows, list(rows[0])))
    crashes, seconds = sum(len(c.crashes) for c in counts), time.perf_counter() - start
    print(f"\n{crashes} crashes in {sum(c.inputs for c in counts):,} files, {seconds:.0f} s")
    if not args.readers:
        store(counts, args, seconds)
    return bool(crashes)


def folders(args: argparse.Namespace) -> int:
    """Damaged and hostile folders of runs, and their counts beside those of the readers."""
    import fuzz_runs

    tally, start = fuzz_runs.Tally(), time.perf_counter()

    def count(case: dict[str, Any]) -> None:
        tally.add(case)
        if case["crash"]:
            print(f"CRASH  case {case['number']}, {case['command']} {case['kind']}: {case['crash'][:300]}", flush=True)
        if tally.cases % 5000 == 0:
            print(
                f"{tally.cases} folders, {len(tally.crashes)} crashes, {time.perf_counter() - start:.0f} s", flush=True
            )
            store_folders(tally, args, time.perf_counter() - start)

    fuzz_runs.at_once(args.jobs, args.folders, args.seed, count)
    seconds = time.perf_counter() - start
    print(f"\n{len(tally.crashes)} crashes in {tally.cases:,} folders, {seconds:.0f} s")
    store_folders(tally, args, seconds)
    return bool(tally.crashes)


def store_folders(tally: Any, args: argparse.Namespace, seconds: float) -> None:
    import fuzz_runs

    file = ROOT / "results" / "fuzz.json"
    result = Result(
        name="folders of runs",
        metric="damaged and hostile folders that crash a command",
        unit=f"of {tally.cases:,} folders",
        value=float(len(tally.crashes)),
        floor=0.0,
        target="0",
        seed=args.seed,
        seconds=seconds,
        command=f'python benchmarks/fuzz.py "{RUNS}" --folders {tally.cases} --seed {args.seed}',
        machine=MACHINE,
        settings={"folders": tally.cases, "seed": args.seed},
        notes={
            "crash": "a traceback, an exception that only the last line of defence has caught, characters that a terminal obeys, "
            f"a change outside the folder, more than {fuzz_runs.SECONDS:g} s of a processor or {fuzz_runs.WAITING:g} s in all, more than {fuzz_runs.MEMORY / 1e6:.0f} MB",
            "what ends in an error is refused": ", ".join(
                f"{n:,} {what}" for what, n in sorted(tally.by_command.items())
            ),
            "slowest": f"{tally.slowest:.2f} s",
            "peak": f"{tally.peak:.0f} MB",
        },
    )
    replace(Result.load(file), more=(result,)).save(file)


def store(counts: list[Count], args: argparse.Namespace, seconds: float) -> None:
    """The counts as a row of docs/results.md (`python examples/reproduce.py --report` writes that page)."""
    file = ROOT / "results" / "fuzz.json"
    Result(
        more=Result.load(file).more if file.is_file() else (),
        name="readers of files",
        metric="damaged and malicious files that crash a reader",
        unit=f"of {sum(c.inputs for c in counts):,} files",
        value=float(sum(len(c.crashes) for c in counts)),
        floor=0.0,
        target="0",
        seed=args.seed,
        seconds=seconds,
        command=f"python benchmarks/fuzz.py --inputs {args.inputs} --seed {args.seed}",
        machine=MACHINE,
        settings={"inputs": args.inputs, "seed": args.seed},
        notes={
            "crash": "another exception than the documented one, a message without the file's name, pixels that are none, "
            f"more than {SECONDS:g} s or {MEMORY / 1e6:.0f} MB for a file of some thousand bytes (pictures: {PICTURE / 1e6:.0f} MB)",
            **{
                c.reader: f"{c.inputs} files, {c.refused} refused, {c.accepted} read, {len(c.crashes)} crashes; "
                f"slowest {c.slowest:.0f} ms, peak {c.peak:.3g} MB"
                for c in counts
            },
        },
    ).save(file)


if __name__ == "__main__":
    sys.exit(main())
