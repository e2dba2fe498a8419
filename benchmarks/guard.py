"""Has anything become slower since a commit?  Whole training steps with the package of this checkout and with that commit's.

    python benchmarks/guard.py main                            # all models, 1 and 2 threads
    python benchmarks/guard.py HEAD~5 vae gan --threads 1 --limit 1.05

The commit is checked out into a temporary git worktree, which is removed at the end, come what may.  The workloads are those of
this checkout's models.py for both; each package runs in processes of its own, and the two take turns, round by round.  The ratio
is the median over the rounds of (this checkout's time / the commit's), below 1 is faster.  What the commit cannot do yet is
left out, and said.  The exit status is 1 when a ratio is above the limit, or when the first losses differ.
"""

import argparse
import contextlib
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles

from models import WORKLOADS
from workers import Worker, introduce, load, take_turns

ROOT = Path(__file__).resolve().parents[1]
WAYS = {"tinygen": "plain", "compiled": "compiled"}


def git(root, *arguments):
    """What a git command prints; raises RuntimeError with what it complains about."""
    result = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"git {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout.strip()


@contextmanager
def checked_out(commit, root=ROOT):
    """A temporary folder with the files of a commit, known to git until the end only."""
    try:
        name = git(root, "rev-parse", "--verify", f"{commit}^{{commit}}")
    except RuntimeError as error:
        raise RuntimeError(f"guard: {commit!r} is no commit here; git log lists them ({error})") from None
    with tempfile.TemporaryDirectory(prefix="tinygen-guard-") as parent:
        folder = Path(parent).resolve() / "tree"
        try:
            git(root, "worktree", "add", "--detach", str(folder), name)
            yield folder
        finally:
            with contextlib.suppress(RuntimeError):  # stopped before git knew of it
                git(root, "worktree", "remove", "--force", "--force", str(folder))


def start(stack, library, package, threads, title):
    """A worker that has that package, and whose messages call it by that title."""
    worker = stack.enter_context(Worker(library, "models", threads, package=package))
    worker.library = title
    return worker


def lacks(worker, package, name, batch):
    """What the package has not that the workload needs, or None; first it must be the right package."""
    where, missing = worker.ask("lacks", name, batch)
    if not Path(where).resolve().is_relative_to(Path(package).resolve()):
        raise RuntimeError(f"guard: {worker.library} should have been imported from {package}, but came from {where}")
    return missing


def compare(name, way, threads, old, commit, batch, rounds, seconds):
    """(ms of this checkout, ms of the commit, ratio of every round); raises LookupError where the commit cannot do it."""
    with ExitStack() as stack:
        theirs = start(stack, way, old, threads, commit)
        if missing := lacks(theirs, old, name, batch):
            raise LookupError(missing)
        mine = start(stack, way, ROOT, threads, "this checkout")
        if missing := lacks(mine, ROOT, name, batch):
            raise RuntimeError(f"guard: this checkout cannot run {name}: {missing}")
        times = take_turns([mine, theirs], name, batch, rounds, seconds)
    return median(times[mine]), median(times[theirs]), [a / b for a, b in zip(times[mine], times[theirs], strict=True)]


def guard(old, arguments):
    """Print a row for each model, way and number of threads; returns those above the limit, and those that fail."""
    header = f"{'model':33} {'threads':>7} {'way':9} {arguments.commit[:12] + ' ms':>15} {'checkout ms':>12} {'ratio':>6} {'quartiles':>12}"
    print(header + "\n" + "-" * len(header))
    bad = []
    for name in arguments.models or WORKLOADS:
        for threads in arguments.threads:
            for way, said in WAYS.items():
                row = f"{WORKLOADS[name].title:33} {threads:7} {said:9}"
                try:
                    mine, theirs, ratios = compare(
                        *(name, way, threads, old, arguments.commit),
                        *(arguments.batch, arguments.rounds, arguments.seconds),
                    )
                except LookupError as missing:
                    print(f"{row}  skipped: {arguments.commit} lacks it: {missing.args[0]}", flush=True)
                    continue
                except RuntimeError as error:
                    print(f"{row}  failed: {error}", flush=True)
                    bad.append(f"{name} ({threads} thread(s), {said}) failed")
                    continue
                low, ratio, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
                slower = ratio > arguments.limit
                bad += [f"{name} ({threads} thread(s), {said}) {ratio:.3f}"] * slower
                print(
                    f"{row} {theirs:15.3f} {mine:12.3f} {ratio:6.3f} {low:5.2f} .. {high:4.2f}" + "  slower" * slower,
                    flush=True,
                )
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="whose package this checkout's is compared with: a name that git knows")
    parser.add_argument("models", nargs="*", help=f"which: {', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.15, help="of one package in one round")
    parser.add_argument("--limit", type=float, default=1.1, help="the largest ratio that is no failure (default: 1.1)")
    parser.add_argument(
        "--quick", action="store_true", help="batch 10, 1 thread, 3 rounds of 0.02 s: no ratios to trust"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.models) - set(WORKLOADS):
        parser.error(f"no such model: {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    if arguments.quick:
        arguments.batch, arguments.threads, arguments.rounds, arguments.seconds = 10, [1], 3, 0.02
    for stop in (signal.SIGINT, signal.SIGTERM):  # as an exception, on the way of which the worktree is removed
        signal.signal(stop, lambda number, _: sys.exit(128 + number))
    try:
        with checked_out(arguments.commit) as old:
            introduce(None)
            print(f"this checkout against {git(old, 'log', '-1', '--format=%h (%ad, %s)', '--date=short')}")
            print(f"batch {arguments.batch}, {arguments.rounds} rounds of {arguments.seconds} s each\n")
            bad = guard(old, arguments)
            print(f"\nload {load()} at the end")
    except RuntimeError as error:
        raise SystemExit(str(error)) from None
    if bad:
        raise SystemExit(f"not within the limit of {arguments.limit:g}: {', '.join(bad)}")


if __name__ == "__main__":
    main()
