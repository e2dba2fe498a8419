"""Interrupt `tinygen train` at random moments, by Ctrl-C or SIGTERM, go on with --resume, and compare how it ends, bit for bit.

    python benchmarks/interrupts.py                      # 200 interrupts of five models, twenty minutes
    python benchmarks/interrupts.py vae gan --times 20
    python benchmarks/interrupts.py --seed 1

Each model is trained once undisturbed on the embedded digits (or on two moons), with a picture and a held-out loss after every
epoch and the savings at their default, a minute apart.  Then again: after a random number of steps and up to half a second
more, or in a quarter of the cases after a random share of the whole time, the process gets SIGINT or SIGTERM, once, and the
same command with --resume goes on, until one comes to its end; then the next round begins.  So the signals fall while modules
are imported, between two operators, while a picture is drawn, a file written or the end measured.

After each of them: the process ends by itself, within half a minute; what is stored can be read; and no step is lost: the log
has no line beyond the stored state.  After the last: all arrays and numbers of the final checkpoints, the log, the pictures and
the measured numbers are those of the undisturbed run, but for seconds.  The exit status is 1 if anything else happens.

All models together are a row of docs/results.md (`make reproduce` writes that page; its --report does only that).
"""

import argparse
import json
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from kill_and_resume import ENVIRONMENT, ROOT, contents, differences

from tinygen import checkpoint, training
from tinygen.models import Result

DIGITS = ["--data", "digits", "--batch-size", "50"]
MODELS = {
    "vae": [*DIGITS, "--epochs", "15", "--hidden", "32", "--latent", "4"],
    "gan": [*DIGITS, "--epochs", "8", "--hidden", "16", "16", "--latent", "4"],
    "conv_autoencoder": [*DIGITS, "--epochs", "2"],
    "image_realnvp": [*DIGITS, "--epochs", "2", "--scales", "1", "--hidden", "4"],
    "realnvp": ["--epochs", "8", "--batch-size", "50"],
}
PATIENCE = 30
"""Seconds within which a process that was interrupted ends."""


@dataclass
class Count:
    """What was done to one model, and what came of it."""

    interrupts: int = 0
    in_training: int = 0
    lost_steps: int = 0
    longest: float = 0.0
    rounds: int = 0
    faults: list[str] = field(default_factory=list)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"which: {', '.join(MODELS)} (default: all)")
    parser.add_argument("--times", type=int, default=200, help="how many at least, over all models (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    args = parser.parse_args()
    if unknown := set(args.models) - set(MODELS):
        parser.error(f"no such model: {', '.join(sorted(unknown))}; there are {', '.join(MODELS)}")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & lets all below it ignore Ctrl-C
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        counts = measure(args.models or list(MODELS), args.times, random.Random(args.seed), Path(folder))
    headers = (
        "model",
        "interrupts",
        "of which in training",
        "steps lost",
        "seconds to the end, at most",
        "rounds",
        "ends",
    )
    rows = [
        (name, c.interrupts, c.in_training, c.lost_steps, c.longest, c.rounds, "differs" if c.faults else "equal")
        for name, c in counts.items()
    ]
    print("\n" + training.table(rows, headers))
    for name, c in counts.items():
        for fault in c.faults:
            print(f"FAULT     {name}: {fault}")
    seconds = time.perf_counter() - start
    print(f"\n{sum(c.interrupts for c in counts.values())} interrupts; {seconds:.0f} s")
    if not args.models:
        store(counts, args.seed, seconds)
    return int(any(c.faults for c in counts.values()))


def measure(names, times, moments, out):
    """Rounds of the models in turn until there are as many interrupts: name -> Count."""
    whole, counts = {}, {name: Count() for name in names}
    for name in names:
        since = time.perf_counter()
        process = start(name, out / "whole")
        _, error = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{name} ended with status {process.returncode}:\n{error}")
        whole[name] = contents(out / "whole" / name), time.perf_counter() - since
        print(f"{name}: undisturbed, {whole[name][1]:.1f} s", flush=True)
    turn = 0
    while sum(c.interrupts for c in counts.values()) < times and not all(c.faults for c in counts.values()):
        name = min((n for n in names if not counts[n].faults), key=lambda n: counts[n].interrupts)
        count, (expected, seconds) = counts[name], whole[name]
        before, folder = count.interrupts, out / f"round_{turn}"
        steps = expected["run.safetensors:/step"]
        if interrupted_until_it_ends(name, folder, steps, seconds, moments, count):
            count.faults += differences(expected, contents(folder / name))
        count.rounds += 1
        turn += 1
        print(f"{name}: {count.interrupts - before} interrupts; {count.faults or 'equal'}", flush=True)
    return counts


def start(name, out):
    """`tinygen train` in a process of its own; with --resume, which changes nothing for a run that is not there yet."""
    words = ["train", name, "--out", str(out), "--device", "cpu", "--resume", *MODELS[name]]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-m", "tinygen", *words], env=ENVIRONMENT, cwd=ROOT, **pipes)


def interrupted_until_it_ends(name, out, steps, seconds, moments, count):
    """Whether it came to its end.  What each interrupt does is added to the count."""
    folder = out / name
    while True:
        process = start(name, out)
        try:
            if moments.random() < 0.75:
                wait_for_steps(process, folder, moments.randint(1, 1 + steps // 6))
                _, error = process.communicate(timeout=moments.uniform(0, 0.5))
            else:
                _, error = process.communicate(timeout=moments.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            number, since = moments.choice([signal.SIGINT, signal.SIGTERM]), time.perf_counter()
            process.send_signal(number)
            try:
                _, error = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                count.faults.append(f"still there {PATIENCE} s after {signal.Signals(number).name}")
                return False
            if process.returncode != 0:  # otherwise it came to its end by itself at that moment
                count.interrupts += 1
                count.longest = max(count.longest, time.perf_counter() - since)
                if process.returncode not in (130, -number):  # the latter before or after the training
                    count.faults.append(f"status {process.returncode}: {last_line(error)}")
                    return False
                count.in_training += "saved in" in error
                lost, fault = lost_steps(folder)
                count.lost_steps += lost
                if fault or lost:
                    count.faults.append(fault or f"{lost} steps lost: {last_line(error)}")
                    return False
                continue
        if process.returncode:
            count.faults.append(f"gone on with: status {process.returncode}: {last_line(error)}")
            return False
        return True


def wait_for_steps(process, folder, number):
    """Until the log has so many lines more, or the process has ended."""
    log = folder / "metrics.jsonl"
    until = lines_of(log) + number
    while process.poll() is None and lines_of(log) < until:
        time.sleep(0.005)


def lines_of(log):
    return log.read_bytes().count(b"\n") if log.is_file() else 0


def lost_steps(folder):
    """(steps that were logged and are not in the stored state, what is wrong with that)."""
    log, file = folder / "metrics.jsonl", folder / "run.safetensors"
    lines = log.read_text("utf-8").split("\n")[:-1] if log.is_file() else []
    logged = json.loads(lines[-1])["step"] if lines else 0
    if not checkpoint.exists(file):
        return logged, ""
    try:
        return max(0, logged - checkpoint.load(file)["step"]), ""
    except ValueError as error:
        return 0, str(error)


def last_line(text):
    return (text.strip() or "nothing").splitlines()[-1]


def store(counts, seed, seconds):
    interrupts = sum(c.interrupts for c in counts.values())
    Result(
        name="trainings interrupted and resumed",
        metric="steps lost by Ctrl-C or SIGTERM at a random moment",
        unit="steps",
        value=sum(c.lost_steps for c in counts.values()),
        floor=0.0,
        target="0",
        seed=seed,
        seconds=seconds,
        command="python benchmarks/interrupts.py" + f" --seed {seed}" * (seed != 0),
        machine=f"{platform.system()} {platform.machine()}, NumPy {np.__version__}, cpu",
        settings={"models": list(counts)},
        notes={
            "interrupts": interrupts,
            "of which in training": sum(c.in_training for c in counts.values()),
            "seconds from the signal to the end of the process, at most": round(
                max(c.longest for c in counts.values()), 1
            ),
            "runs, each interrupted until it came to its end": sum(c.rounds for c in counts.values()),
            "of which ended bit for bit as if undisturbed": sum(c.rounds for c in counts.values() if not c.faults),
            "models with a fault": ", ".join(name for name, c in counts.items() if c.faults) or "none",
        },
    ).save(ROOT / "results" / "interrupts.json")


if __name__ == "__main__":
    sys.exit(main())
