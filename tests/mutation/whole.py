"""Would the tests notice a fault anywhere?  A seeded sample of faults is planted in the whole package, one at a time.

    python -m tests.mutation.whole record           which test runs which line: the suite once, with coverage
    python -m tests.mutation.whole sample           plant the sample (make mutate-all does both)
    python -m tests.mutation.whole sample --area "command line and plots" --count 40 --seed 1
    python -m tests.mutation.whole one FILE:LINE    every fault of one line

For each fault a copy of the project gets it, and the tests that run its line run there, the quick ones first, until one
fails.  A fault in a line that only programs started by tests run gets the tests of its area.  A fault that no test notices
is printed; REASONS says of those that cannot or need not be noticed why.  The derivative rules have a tool of their own,
`tests.mutation.mutate`, which plants every fault in every rule.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tests.mutation.source import Fault, faults
from tinygen.models import Result

ROOT = Path(__file__).parents[2]
STATE = ROOT / "runs" / "mutation"
"""Where `record` leaves what it saw, and `sample` what it found: stopped, it goes on."""

AREAS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "engine": (("*.py", "recompute", "replay"), ("tests/test_*.py",)),
    "backend": (
        ("backend", "backends", "cuda"),
        ("tests/test_backend.py", "tests/test_threads.py", "tests/test_fuse.py"),
    ),
    "operators": (("ops", "linalg"), ("tests/ops", "tests/test_tensor.py")),
    "nn": (("nn", "distributions"), ("tests/nn", "tests/distributions")),
    "optim": (("optim",), ("tests/optim",)),
    "data": (("data", "utils"), ("tests/data",)),
    "evaluate": (("evaluate",), ("tests/evaluate",)),
    "models": (("models",), ("tests/models",)),
    "checkpoint and training": (
        ("training", "checkpoint.py", "interchange.py", "saving.py"),
        ("tests/test_checkpoint.py", "tests/test_interchange.py", "tests/test_training*.py"),
    ),
    "command line and plots": (("cli", "plot", "__main__.py"), ("tests/test_cli.py", "tests/test_plot*.py")),
    "testing": (("testing",), ("tests/testing",)),
}
"""Area: its files and folders in tinygen/, and the tests for lines that no test runs in its own process."""

FIRST, ALL = 20.0, 90.0
"""Seconds, as they took undisturbed: the quickest tests of a line run first; all that run have at most this time together."""

REASONS = json.loads((Path(__file__).parent / "reasons.json").read_text("utf-8"))
"""Faults that no test notices -> why not: "file: what"."""


def area_of(file: Path) -> str:
    """The area of a file of the package; files at the top belong to the engine, unless another area names them."""
    inside = file.relative_to(ROOT / "tinygen")
    named = [area for area, (places, _) in AREAS.items() if inside.parts[0] in places]
    return named[0] if named else "engine"


def sample(count: int, seed: int, area: str | None = None) -> list[tuple[str, Fault]]:
    """(area, fault): so many lines drawn from the whole package (or an area), and of each line one of its faults.

    Every area gets at least a twentieth, so that something can be said about each.
    """
    wanted: dict[str, dict[tuple[str, int], list[Fault]]] = {name: {} for name in ([area] if area else AREAS)}
    for file in sorted((ROOT / "tinygen").rglob("*.py")):
        if (of := area_of(file)) in wanted:
            for fault in faults(file.read_bytes(), str(file.relative_to(ROOT))):
                wanted[of].setdefault((fault.file, fault.line), []).append(fault)
    chance = random.Random(seed)
    lines = sum(map(len, wanted.values()))
    drawn = []
    for name, places in wanted.items():
        n = max(round(count * len(places) / lines), -(-count // 20))
        some = chance.sample(sorted(places), min(n, len(places)))
        for place in sorted(some):
            source, edits = (ROOT / place[0]).read_bytes(), places[place]
            found = next((f for f in chance.sample(edits, len(edits)) if f.is_a_program(source)), None)
            drawn += [(name, found)] if found else []
    return drawn


def record() -> None:
    """Run the suite once and keep which test runs which line, and how long each takes."""
    STATE.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "tests.mutation.record"]
    options = ["--cov=tinygen", "--cov-context=test", "--cov-report="]
    where = {
        "TINYGEN_HYPOTHESIS": "glance",
        "DURATIONS": str(STATE / "seconds.json"),
        "COVERAGE_FILE": str(STATE / "coverage"),
    }
    subprocess.run([*command, *options], cwd=ROOT, env=os.environ | where, timeout=7200)


class Seen:
    """What `record` kept."""

    def __init__(self) -> None:
        from coverage import CoverageData

        self.seconds: dict[str, float] = json.loads((STATE / "seconds.json").read_text("utf-8"))
        self._data = CoverageData(str(STATE / "coverage"))
        self._data.read()

    def tests(self, fault: Fault, area: str) -> list[list[str]]:
        """The tests of a fault, in up to two portions: quick ones, then others."""
        contexts = self._data.contexts_by_lineno(str(ROOT / fault.file)).get(fault.line, [])
        names = {context.partition("|")[0] for context in contexts} - {""}
        ordered = sorted(names & self.seconds.keys(), key=lambda name: self.seconds[name])
        portions: list[list[str]] = [[], []]
        total = 0.0
        for name in ordered:
            total += self.seconds[name]
            if total > ALL and any(portions):
                break
            portions[total > FIRST].append(name)
        found = [portion for portion in portions if portion]
        return found or [[str(p.relative_to(ROOT)) for pattern in AREAS[area][1] for p in sorted(ROOT.glob(pattern))]]


def outcome(fault: Fault, portions: Iterable[Sequence[str]]) -> str:
    """ "killed by ..." or "survived": what the tests said in a copy of the project with the fault in it."""
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder) / "project"
        keep = shutil.ignore_patterns(".git", ".venv*", "runs", "__pycache__", ".hypothesis", "*.egg-info")
        shutil.copytree(ROOT, there, ignore=keep)
        file = there / fault.file
        file.write_bytes(fault.planted_in(file.read_bytes()))
        for names in portions:
            (there / "names.txt").write_text("\n".join(names), "utf-8")
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-x",
                "-p",
                "no:cacheprovider",
                "--no-header",
                "@names.txt",
            ]
            environment = os.environ | {
                "PYTHONPATH": str(there),
                "OPENBLAS_NUM_THREADS": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            try:
                done = subprocess.run(
                    command, cwd=there, env=environment, capture_output=True, text=True, timeout=10 * ALL
                )
            except subprocess.TimeoutExpired:
                return "killed by taking too long"
            if done.returncode not in (0, 5):  # 5: nothing was collected
                failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
                return f"killed by {failed[0].split(' - ')[0] if failed else 'an error before the first test'}"
    return "survived"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["record", "sample", "one"])
    parser.add_argument("place", nargs="?", help="FILE:LINE")
    parser.add_argument("--count", type=int, default=400, help="how many faults (default 400)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    parser.add_argument("--area", choices=AREAS, help="only there")
    parser.add_argument("--processes", type=int, default=2, help="at a time (default 2)")
    args = parser.parse_args(arguments)
    if args.what == "record":
        record()
        return 0
    seen = Seen()
    if args.what == "one":
        name, _, line = args.place.rpartition(":")
        source = (ROOT / name).read_bytes()
        drawn = [(area_of(ROOT / name), f) for f in faults(source, name) if f.line == int(line)]
        drawn = [(area, f) for area, f in drawn if f.is_a_program(source)]
    else:
        drawn = sample(args.count, args.seed, args.area)
    start = time.perf_counter()
    results = _all(drawn, seen, args.processes, STATE / f"found_{args.seed}.json")
    counts: dict[str, Counter[str]] = {}
    survivors = []
    for (area, fault), result in zip(drawn, results):
        reason = REASONS.get(_key(fault))
        kind = (
            "noticed"
            if result != "survived"
            else "no fault"
            if reason and reason.startswith("no fault")
            else "survived"
        )
        counts.setdefault(area, Counter())[kind] += 1
        if result == "survived":
            survivors.append((str(fault), reason or "no test notices it yet"))
    _print(counts, survivors)
    if args.what == "sample" and not args.area and args.count >= 400:
        _store(counts, survivors, args, time.perf_counter() - start)
    return int(any(100 * c["noticed"] < 90 * (c["noticed"] + c["survived"]) for c in counts.values()))


def _key(fault: Fault) -> str:
    return f"{fault.file}: {fault.what}"


def _all(drawn: Sequence[tuple[str, Fault]], seen: Seen, processes: int, file: Path) -> list[str]:
    """The outcomes, of which those that are known already from an earlier, stopped run are read."""
    known: dict[str, str] = json.loads(file.read_text("utf-8")) if file.exists() else {}

    def one(place: tuple[str, Fault]) -> str:
        area, fault = place
        if known.get(str(fault), "survived") == "survived":
            known[str(fault)] = outcome(fault, seen.tests(fault, area))
            file.write_text(json.dumps(dict(known)), "utf-8")
            print(f"{known[str(fault)][:100]:<100}  {fault}", flush=True)
        return known[str(fault)]

    with ThreadPoolExecutor(processes) as pool:
        return list(pool.map(one, drawn))


def _print(counts: dict[str, Counter[str]], survivors: list[tuple[str, str]]) -> None:
    print(f"\n{'area':<26}{'noticed':>9}{'planted':>9}{'%':>7}{'no fault':>10}")
    for area, c in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        planted = c["noticed"] + c["survived"]
        print(f"{area:<26}{c['noticed']:>9}{planted:>9}{100 * c['noticed'] / max(planted, 1):>7.1f}{c['no fault']:>10}")
    for fault, reason in survivors:
        print(f"SURVIVED  {fault}\n          {reason}")


def _store(
    counts: dict[str, Counter[str]], survivors: list[tuple[str, str]], args: argparse.Namespace, seconds: float
) -> None:
    """A row of docs/results.md for the whole, with the areas and the survivors as its notes."""
    total: Counter[str] = sum(counts.values(), Counter())
    planted = total["noticed"] + total["survived"]
    parts = {area: f"{c['noticed']} / {c['noticed'] + c['survived']}" for area, c in counts.items()}
    Result(
        name="the whole package",
        metric="planted faults that the tests notice",
        unit="%",
        value=100 * total["noticed"] / planted,
        floor=100.0,
        baseline=0.0,
        target=">= 90 % in every area",
        seed=args.seed,
        seconds=seconds,
        command="make mutate-all",
        machine=f"{platform.system()} {platform.machine()}, NumPy {np.__version__}, cpu",
        settings={"faults": args.count},
        notes={"ceiling": "every fault is noticed", "baseline": "no tests", **parts}
        | {"edits that change nothing, counted apart": total["no fault"]}
        | {f"not noticed: {fault}": reason for fault, reason in survivors if not reason.startswith("no fault")},
    ).save(ROOT / "results" / "mutation_whole.json")


if __name__ == "__main__":
    sys.exit(main())
