"""Whole training steps (forward, backward, Adam) in tinygen and in PyTorch on the CPU: how long, and the ratio.

    python benchmarks/vs_torch.py                       # all models, 1 and 2 threads, batch 100
    python benchmarks/vs_torch.py vae gan --threads 1 --batch 64 --tuned

Each library runs in a process of its own, with the number of threads fixed before anything is imported.  The two take turns,
round by round, while the other one waits; the ratio is the median over the rounds of (tinygen's median / PyTorch's median), so
that a slow spell of the machine hits both.  First both must agree: the same weights, data and noise, dropout off, five steps,
the same losses.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from statistics import median, quantiles

CHECKED_STEPS = 5
WARM_UP_SECONDS = 0.3


class Worker:
    """One library in one process; it answers one request at a time."""

    def __init__(self, library, model, batch, threads, tuned):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        self.library = library
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--worker", json.dumps([library, model, batch, threads, tuned])],
            env={**os.environ, **{name: str(threads) for name in names}},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request, argument):
        self._process.stdin.write(json.dumps([request, argument]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the {self.library} process ended with status {self._process.wait()}")
        return json.loads(answer)

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def serve(library, model, batch, threads, tuned):
    """What a worker's process does: answer requests until its input ends."""
    import numpy as np
    from models import WORKLOADS

    if library == "torch":
        import torch as T

        T.set_num_threads(threads)
        options = {"fused": True} if tuned else {}
    else:
        import tinygen as T

        options = {}

    def make():
        return WORKLOADS[model](T, np.random.default_rng(0), batch, **options)

    def losses(steps):
        """The first losses, with noise that both libraries draw alike and without dropout."""
        workload, rng = make(), np.random.default_rng(1)
        for module in workload.modules:
            module.eval()
        return [
            workload.step(lambda *shape: T.tensor(rng.standard_normal(shape).astype(np.float32))) for _ in range(steps)
        ]

    def times(seconds):
        """Milliseconds of every step, for that many seconds."""
        result, end = [], time.perf_counter() + seconds
        while not result or time.perf_counter() < end:
            start = time.perf_counter()
            timed.step(T.randn)
            result.append((time.perf_counter() - start) * 1e3)
        return result

    timed = make()
    T.manual_seed(0)
    answers = {"losses": losses, "times": times, "version": lambda _: T.__version__}
    for line in sys.stdin:
        request, argument = json.loads(line)
        print(json.dumps(answers[request](argument)), flush=True)


def agree(mine, theirs):
    """Raise if the first losses differ by more than float32 rounding can grow to in a few steps."""
    a, b = mine.ask("losses", CHECKED_STEPS), theirs.ask("losses", CHECKED_STEPS)
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        if not abs(x - y) <= 1e-4 * abs(y):
            raise RuntimeError(f"the losses differ at step {i + 1}: tinygen {a}, PyTorch {b}")


def compare(model, batch, threads, tuned, rounds, seconds):
    """(tinygen's ms per step, PyTorch's, the ratio of every round)."""
    mine, theirs = (Worker(library, model, batch, threads, tuned) for library in ("tinygen", "torch"))
    try:
        agree(mine, theirs)
        for worker in (mine, theirs):
            worker.ask("times", WARM_UP_SECONDS)
        pairs = []
        for i in range(rounds):
            order = (mine, theirs) if i % 2 else (theirs, mine)
            result = {worker: median(worker.ask("times", seconds)) for worker in order}
            pairs.append((result[mine], result[theirs]))
    finally:
        mine.close()
        theirs.close()
    return median(a for a, _ in pairs), median(b for _, b in pairs), [a / b for a, b in pairs]


def machine():
    """The processor's name and the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, {platform.system()}, Python {platform.python_version()}"


def kernels():
    """Which matrix-product kernels NumPy's OpenBLAS chose: with a smaller instruction set than the processor's it is slow."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "kernels unknown (pip install threadpoolctl)"
    name = next((i["architecture"] for i in threadpool_info() if "numpy" in i["filepath"]), "unknown")
    forced = os.environ.get("OPENBLAS_CORETYPE")
    return f"{name} kernels" + (f" (forced by OPENBLAS_CORETYPE={forced})" if forced else "")


def load():
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def main():
    from models import WORKLOADS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help=f"which: {', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one library in one round")
    parser.add_argument("--tuned", action="store_true", help="PyTorch with its fused Adam")
    arguments = parser.parse_args()
    if unknown := set(arguments.models) - set(WORKLOADS):
        parser.error(f"no such model: {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")

    import numpy
    import torch

    import tinygen

    print(f"{datetime.date.today()}  {machine()}, load {load()} at the start")
    adam = "fused Adam" if arguments.tuned else "defaults"
    print(
        f"tinygen {tinygen.__version__} on NumPy {numpy.__version__}, {kernels()}; PyTorch {torch.__version__} with {adam}; ",
        end="",
    )
    print(f"batch {arguments.batch}, {arguments.rounds} rounds of {arguments.seconds} s each\n")
    header = f"{'model':32} {'threads':>7} {'PyTorch ms':>11} {'tinygen ms':>11} {'ratio':>6} {'quartiles':>12}  target"
    print(header + "\n" + "-" * len(header))
    for name in arguments.models or WORKLOADS:
        for threads in arguments.threads:
            mine, theirs, ratios = compare(
                name, arguments.batch, threads, arguments.tuned, arguments.rounds, arguments.seconds
            )
            low, ratio, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
            target = WORKLOADS[name].target  # against PyTorch's defaults
            verdict = "" if arguments.tuned else f"<= {target} {'met' if ratio <= target else 'missed'}"
            print(
                f"{WORKLOADS[name].title:32} {threads:7} {theirs:11.3f} {mine:11.3f} {ratio:6.3f} {low:5.2f} .. {high:4.2f}"
                f"  {verdict}",
                flush=True,
            )
    print(f"\nload {load()} at the end")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        serve(*json.loads(sys.argv[2]))
    else:
        main()
