"""Interrupt `tinygen train` at random moments, by Ctrl-C or SIGTERM, go on with --resume, and compare how it ends, bit for bit.

    python benchmarks/interrupts.py                      # 200 interrupts of five models, some minutes
    python benchmarks/interrupts.py vae gan --times 20
    python benchmarks/interrupts.py --seed 1

Each model is trained once undisturbed on the embedded digits (or on two moons), with a picture and a held-out loss after every
epoch and the savings at their default, a minute apart.  Then again: after a random number of steps and up to half a second
more, or in a quarter of the cases after a random share of the whole time, the process gets SIGINT or SIGTERM, once, and the
same command with --resume goes on, until one comes to its end; then the next round begins.  So the signals fall between two
operators, while a picture is drawn, a file written or the end measured.  Every command is a process of its own, forked from one
that has imported tinygen: imports take longer than such trainings, and there is nothing to lose before.

After each of them: the process ends by itself; what is stored can be read; and no step is lost: the log
has no line beyond the stored state.  After the last: all arrays and numbers of the final checkpoints, the log, the pictures and
the measured numbers are those of the undisturbed run, but for seconds.  The exit status is 1 if anything else happens.

All models together are a row of docs/results.md (`make reproduce` writes that page; its --report does only that).
"""

import argparse
import json
import os
import platform
import random
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from kill_and_resume import ROOT, contents, differences

from tinygen import checkpoint, data, training
from tinygen.cli import main as main_of_tinygen
from tinygen.models import Result

DIGITS = ["--data", "digits.npz", "--batch-size", "50"]  # without labels: then the measuring at the end is short
MODELS = {
    "vae": [*DIGITS, "--epochs", "8", "--hidden", "16", "--latent", "4"],
    "gan": [*DIGITS, "--epochs", "8", "--hidden", "16", "16", "--latent", "4"],
    "conv_autoencoder": [*DIGITS, "--epochs", "2", "--code", "4"],
    "image_realnvp": [*DIGITS, "--epochs", "2", "--scales", "1", "--hidden", "4"],
    "realnvp": ["--epochs", "3", "--batch-size", "50", "--hidden", "8", "--depth", "2"],
}
PATIENCE = 180
"""Seconds within which a process that was interrupted ends, on a machine that does ten other things."""


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
    os.environ.pop("TINYGEN_SAVE_EVERY", None)
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
    np.savez(out / "digits.npz", images=data.digits()[0].images)
    for name in names:
        since = time.perf_counter()
        main_of_tinygen(words(name, out / "whole"))
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


def words(name, out):
    """`tinygen train`; with --resume, which changes nothing for a run that is not there yet."""
    here = [word.replace("digits.npz", str(out.parent / "digits.npz")) for word in MODELS[name]]
    return ["train", name, "--out", str(out), "--device", "cpu", "--resume", *here]


class Process:
    """A command in a process of its own."""

    def __init__(self, words):
        self.errors = tempfile.TemporaryFile("w+")
        self.status = None
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                os.dup2(self.errors.fileno(), 2)
                status = main_of_tinygen(words)
            except KeyboardInterrupt:
                status = 130
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)

    def ended(self, seconds=0.0):
        """Whether it has ended, within so many seconds."""
        until = time.monotonic() + seconds
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= until:
                return False
            else:
                time.sleep(0.002)
        return True

    def last_words(self):
        self.errors.seek(0)
        return self.errors.read()


def interrupted_until_it_ends(name, out, steps, seconds, moments, count):
    """Whether it came to its end.  What each interrupt does is added to the count."""
    folder = out / name
    while True:
        process = Process(words(name, out))
        if moments.random() < 0.75:
            wait_for_steps(process, folder, moments.randint(1, 1 + steps // 6))
            pause = moments.uniform(0, 0.5)
        else:
            pause = moments.uniform(0, seconds)
        if process.ended(pause):
            if process.status:
                count.faults.append(f"gone on with: status {process.status}: {last_line(process.last_words())}")
            return not process.status
        number, since = moments.choice([signal.SIGINT, signal.SIGTERM]), time.perf_counter()
        os.kill(process.pid, number)
        if not process.ended(PATIENCE):
            os.kill(process.pid, signal.SIGKILL)
            count.faults.append(f"still there {PATIENCE} s after {signal.Signals(number).name}")
            return False
        if process.status == 0:  # it came to its end at that moment
            return True
        count.interrupts += 1
        count.longest = max(count.longest, time.perf_counter() - since)
        error = process.last_words()
        count.in_training += "saved in" in error
        lost, fault = lost_steps(folder)
        count.lost_steps += lost
        if process.status not in (130, -number):  # the latter before or after the training
            fault = f"status {process.status}"
        if fault or lost:
            count.faults.append(f"{fault or f'{lost} steps lost'}: {last_line(error)}")
            return False


def wait_for_steps(process, folder, number):
    """Until the log has so many lines more, or the process has ended."""
    log = folder / "metrics.jsonl"
    until = lines_of(log) + number
    while lines_of(log) < until and not process.ended():
        time.sleep(0.002)


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
