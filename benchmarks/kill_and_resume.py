"""Kill every training example with SIGKILL at random moments, resume it, and compare how it ends, bit for bit.

    python benchmarks/kill_and_resume.py                       # at least 50 kills over all examples, a quarter of an hour
    python benchmarks/kill_and_resume.py vae gan --kills 10
    python benchmarks/kill_and_resume.py --seed 1

Each example runs once undisturbed, on a few embedded digits (--dry-run).  Then again, saving after every step: a random
number of steps is let through, or in a quarter of the cases a random share of the whole time, and the process is killed;
the same command with --resume goes on, until one comes to its end.  That is a round; there are as many as it takes to kill
often enough, each example at least three times while it trains.  Compared are all arrays and numbers of the final
checkpoints, the bytes of the pictures, and the metrics; only seconds may differ.  The exit status is 1 if anything else
does.

All examples together are a row of docs/results.md (`make reproduce` writes that page; its --report does only that).
"""

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinygen import checkpoint, training
from tinygen.models import Result

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ["--data", "digits", "--batch-size", "16"]  # smaller batches are more moments to be killed at
EXAMPLES = {
    "autoencoder": IMAGES,
    "conv_autoencoder": [*IMAGES, "--codes", "4", "8"],
    "vae": IMAGES,
    "conv_vae": IMAGES,
    "gan": [*IMAGES, "--k", "2"],
    "dcgan": IMAGES,
    "gaussian_vae": ["--batch-size", "16"],
    "realnvp": ["--batch-size", "16"],
    "image_realnvp": IMAGES,
    "upsampling": IMAGES,
    "tabular": [],
}
MAY_DIFFER = ("seconds", "log")  # "log" is the length of the log in bytes, and there are seconds in it
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "TINYGEN_SAVE_EVERY"}
ENVIRONMENT |= {"OPENBLAS_NUM_THREADS": "1"}  # matrices this small are slower with more


@dataclass
class Count:
    """What was done to one example, and what came of it."""

    rounds: int = 0
    equal: int = 0
    kills: int = 0
    in_training: int = 0
    differences: list[str] = field(default_factory=list)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", nargs="*", metavar="EXAMPLE", help=f"which: {', '.join(EXAMPLES)} (default: all)")
    parser.add_argument("--kills", type=int, default=50, help="how many at least, over all examples (default 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--out", type=Path, help="folder for the runs (default: one that is removed at the end)")
    args = parser.parse_args()
    if unknown := set(args.examples) - set(EXAMPLES):
        parser.error(f"no such example: {', '.join(sorted(unknown))}; there are {', '.join(EXAMPLES)}")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        counts = measure(
            args.examples or list(EXAMPLES), args.kills, random.Random(args.seed), args.out or Path(folder)
        )
    headers = ("example", "kills", "of which in training", "rounds", "ends")
    rows = [(name, c.kills, c.in_training, c.rounds, ending(c)) for name, c in counts.items()]
    print("\n" + training.table(rows, headers))
    for name, c in counts.items():
        for difference in c.differences:
            print(f"DIFFERS   {name}: {difference}")
    kills, rounds = sum(c.kills for c in counts.values()), sum(c.rounds for c in counts.values())
    bad = sum(bool(c.differences) for c in counts.values())
    print(f"\n{kills} kills in {rounds} rounds of {len(counts)} examples; {time.perf_counter() - start:.0f} s")
    if not args.examples:
        store(counts, args.seed, time.perf_counter() - start)
    return int(bad > 0)


def ending(count):
    return "differs" if count.differences else "bit for bit equal"


def measure(names, kills, moments, out):
    """Rounds of the example that has been killed least while it trained, until there are as many kills: name -> Count."""
    whole = {}
    for name in names:
        since = time.perf_counter()
        finish(command(name, out / "whole"), ENVIRONMENT)
        whole[name] = contents(folder_of(name, out / "whole")), time.perf_counter() - since
        print(f"{name}: undisturbed, {whole[name][1]:.1f} s", flush=True)
    counts = {name: Count() for name in names}
    turn, each = 0, min(3, kills // len(names))
    while True:
        going = [name for name in names if not counts[name].differences]  # the others would only differ again
        enough = sum(c.kills for c in counts.values()) >= kills
        if not going or enough and all(counts[name].in_training >= each for name in going):
            return counts
        name = min(going, key=lambda name: (counts[name].in_training, counts[name].rounds))
        expected, seconds = whole[name]
        folder = out / f"killed_{turn}"
        killed, in_training, failure = killed_until_it_ends(name, folder, expected, seconds, moments)
        found = [failure] if failure else differences(expected, contents(folder_of(name, folder)))
        count = counts[name]
        count.equal += not found
        count.rounds += 1
        count.kills += killed
        count.in_training += in_training
        count.differences += found
        print(f"{name}: {killed} kills, {'DIFFERS: ' + '; '.join(found) if found else 'equal'}", flush=True)
        turn += 1


def command(name, out, *options):
    script = str(ROOT / "examples" / f"{name}.py")
    return [sys.executable, script, "--dry-run", "--device", "cpu", "--out", str(out), *EXAMPLES[name], *options]


def folder_of(name, out):
    return out / f"{name}_dry_run"


def finish(arguments, environment):
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with status {done.returncode}:\n{done.stderr}")


def killed_until_it_ends(name, out, expected, seconds, moments):
    """(number of kills, how many of them fell into the training, what it said if it failed to go on)."""
    steps = sum(value for key, value in expected.items() if key.endswith(":/step"))
    folder = folder_of(name, out)
    environment = {**ENVIRONMENT, "TINYGEN_SAVE_EVERY": "0"}
    kills = in_training = 0
    while True:
        arguments = command(name, out, "--resume")
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=errors)
            if moments.random() < 0.75:
                wait_for_savings(process, folder, moments.randint(0, 1 + steps // 3))
                wait(process, moments.uniform(0, 0.03))
            else:
                wait(process, moments.uniform(0, seconds))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            status = process.wait()
            if status == 0:
                return kills, in_training, ""
            if status != -signal.SIGKILL:
                errors.seek(0)
                last_words = (errors.read().strip() or "nothing").splitlines()[-1]
                return kills, in_training, f"resumed after {kills} kills, status {status}: {last_words}"
        kills += 1
        in_training += 0 < sum(checkpoint.load(file)["step"] for file in folder.glob("*.safetensors")) < steps


def wait_for_savings(process, folder, number):
    """Until a checkpoint has been written so many times, or the process has ended."""
    before = newest(folder)
    while number and process.poll() is None:
        time.sleep(0.001)
        if (now := newest(folder)) != before:
            before, number = now, number - 1


def newest(folder):
    """Of all checkpoints, when the last one was written."""
    times = []
    for file in folder.glob("*.safetensors"):
        with suppress(FileNotFoundError):  # the moment between two renamings
            times.append(file.stat().st_mtime_ns)
    return max(times, default=0)


def wait(process, seconds):
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def contents(folder):
    """All that a run leaves: "file:/place" -> a number, a text, or bytes."""
    found = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = file.relative_to(folder).as_posix()
        if file.suffix == ".safetensors":
            found |= flat(checkpoint.load(file), f"{name}:")
        elif file.name == "metrics.json":
            found |= flat(json.loads(file.read_text("utf-8")), f"{name}:")
        elif file.suffix == ".jsonl":
            found |= flat([json.loads(line) for line in file.read_text("utf-8").splitlines()], f"{name}:")
        elif file.suffix in (".png", ".gif"):
            found[name] = file.read_bytes()
    return found


def flat(value, place):
    if isinstance(value, dict | list | tuple):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        parts = [flat(v, f"{place}/{key}") for key, v in pairs if key not in MAY_DIFFER]
        return {k: v for part in parts for k, v in part.items()}
    return {place: (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value}


def differences(expected, found):
    """Where two runs differ, in words; at most five places."""
    places = [key for key in {**expected, **found} if repr(expected.get(key)) != repr(found.get(key))]  # NaN is itself
    return [key + (" is missing" * (key not in found) or " is too much" * (key not in expected)) for key in places[:5]]


def store(counts, seed, seconds):
    equal = sum(c.equal for c in counts.values())
    rounds = sum(c.rounds for c in counts.values())
    Result(
        name="runs killed and resumed",
        metric="that end bit for bit as if undisturbed",
        unit="%",
        value=100 * equal / rounds,
        floor=100.0,
        baseline=0.0,
        target="100 %",
        seed=seed,
        seconds=seconds,
        command="python benchmarks/kill_and_resume.py" + f" --seed {seed}" * (seed != 0),
        machine=f"{platform.system()} {platform.machine()}, NumPy {np.__version__}, cpu",
        settings={"examples": list(counts)},
        notes={
            "ceiling": "every run",
            "baseline": "without checkpoints",
            "kills": sum(c.kills for c in counts.values()),
            "of which in training": sum(c.in_training for c in counts.values()),
            "runs, each killed until it came to its end": rounds,
        },
    ).save(ROOT / "results" / "kills.json")


if __name__ == "__main__":
    sys.exit(main())
