"""What the benchmarks share: each library works in a process of its own, and the two take turns.

A benchmark is a file with a table WORKLOADS of names and classes.  `Workload(T, rng, batch, **options)`, where T is tinygen or
torch, builds one; `step(noise)` does the work that is timed; `check(noise)` returns numbers in which both libraries must agree.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from statistics import median

WARM_UP_SECONDS = 0.3


class Worker:
    """One library in one process, with the number of threads fixed before anything is imported; it answers one request at a time.

    package: a folder that Python looks into first, for a tinygen other than the installed one.
    """

    def __init__(self, library, source, threads, package=None, **options):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        path = os.pathsep.join(str(folder) for folder in (package, os.environ.get("PYTHONPATH")) if folder)
        self.library = library
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps([library, source, threads, options])],
            env={**os.environ, **{name: str(threads) for name in names}, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self):
        return self._process.pid

    def ask(self, request, *arguments):
        self._process.stdin.write(json.dumps([request, *arguments]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the {self.library} process ended with status {self._process.wait()}")
        return json.loads(answer)

    def has_ended(self):
        return self._process.poll() is not None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self._process:  # closes its pipes, at which it ends, and waits for it
            pass


def serve(library, source, threads, options):
    """What a worker's process does: answer requests until its input ends."""
    import numpy as np

    workloads = importlib.import_module(source).WORKLOADS
    if library == "torch":
        import torch as T

        T.set_num_threads(threads)
    elif library in ("tinygen", "compiled"):
        import tinygen as T
    else:  # one with an interface of its own: its workloads take NumPy's arrays
        T = importlib.import_module(source).Arrays(library)
    current = None

    def make(name, batch):
        return workloads[name](T, np.random.default_rng(0), batch, **options)

    def check(name, batch):
        """The workload's numbers, with noise that both libraries draw alike."""
        rng = np.random.default_rng(1)
        return make(name, batch).check(lambda *shape: T.tensor(rng.standard_normal(shape).astype(np.float32)))

    def build(name, batch):
        """Make the workload that `times` will be asked for."""
        nonlocal current
        current = None
        current = make(name, batch)
        if library == "compiled":
            current.update = T.compile(current.update)
        T.manual_seed(0)
        if library == "compiled":  # the first two calls are recorded
            current.step(T.randn), current.step(T.randn)

    def lacks(name, batch):
        """(where the library lies, what it has not that the workload needs, or None)."""
        try:
            build(name, batch)
            current.step(T.randn)
        except (AttributeError, ImportError, NotImplementedError, TypeError) as error:
            return T.__file__, f"{type(error).__name__}: {error}"
        return T.__file__, None

    def times(seconds):
        """Milliseconds of every step, for that many seconds."""
        result, end = [], time.perf_counter() + seconds
        while not result or time.perf_counter() < end:
            start = time.perf_counter()
            current.step(T.randn)
            result.append((time.perf_counter() - start) * 1e3)
        return result

    def memory(name, batch, steps):
        """MiB that building the workload and `steps` steps add at their peak, to a process that has done the same on a small batch."""
        make(name, 2).step(T.randn)  # what is imported and set up at the first call is none of the step's
        release()
        before = resident("VmRSS")
        forget_peak()
        workload = make(name, batch)
        for _ in range(steps):
            workload.step(T.randn)
        return resident("VmHWM") - before

    answers = {f.__name__: f for f in (check, build, lacks, times, memory)}
    for line in sys.stdin:
        request, *arguments = json.loads(line)
        print(json.dumps(answers[request](*arguments)), flush=True)


def resident(field):
    """MiB of this process: VmRSS, in memory now; VmHWM, at the peak.  Linux only."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def release():
    """Give back what was freed: C libraries keep some of it, tinygen's processes most, and it would be used again unseen."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def forget_peak():
    """Let VmHWM start again from what is in memory now."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def pair(source, threads, **torch_options):
    """(a worker of tinygen, one of PyTorch)."""
    return Worker("tinygen", source, threads), Worker("torch", source, threads, **torch_options)


def agree(workers, name, batch):
    """Raise if anybody's numbers differ from the last one's by more than float32 rounding can grow to in a few steps."""
    *others, theirs = workers
    b = theirs.ask("check", name, batch)
    for mine in others:
        a = mine.ask("check", name, batch)
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            if not abs(x - y) <= 1e-4 * abs(y):
                raise RuntimeError(
                    f"{name}: number {i + 1} of the check differs: {mine.library} {a}, {theirs.library} {b}"
                )


def compare(mine, theirs, name, batch, rounds, seconds):
    """(tinygen's ms per step, PyTorch's, the ratio of every round); first both must agree."""
    milliseconds = take_turns([mine, theirs], name, batch, rounds, seconds)
    a, b = milliseconds[mine], milliseconds[theirs]
    return median(a), median(b), [x / y for x, y in zip(a, b, strict=True)]


def take_turns(workers, name, batch, rounds, seconds):
    """{worker: ms per step in every round}; first the others must agree with the last."""
    agree(workers, name, batch)
    for worker in workers:
        worker.ask("build", name, batch)
        worker.ask("times", min(seconds, WARM_UP_SECONDS))
    result = {worker: [] for worker in workers}
    for i in range(rounds):
        for worker in workers if i % 2 else workers[::-1]:
            result[worker].append(median(quietly(worker, seconds)))
    return result


def quietly(worker, seconds, attempts=5):
    """The worker's times from a turn in which nothing else kept a core busy for a tenth of the time.

    On Linux; elsewhere, when the machine is never quiet, and when a turn takes seconds, the last turn's.
    """
    for _ in range(attempts):
        before = others_ticks(worker.pid)
        times = worker.ask("times", seconds)
        after = others_ticks(worker.pid)
        took = max(sum(times) / 1e3, 0.3)
        if before is None or took > 2 or after - before <= 0.1 * took * os.sysconf("SC_CLK_TCK"):
            break
        time.sleep(0.1)
    return times


def others_ticks(pid):
    """Clock ticks that all processors have spent on anything but this process, on other virtual machines too; None if unknown."""
    try:
        with open("/proc/stat") as all_of_them, open(f"/proc/{pid}/stat") as own:
            user, nice, system, _idle, _waiting, *interrupts_and_stolen = map(int, all_of_them.readline().split()[1:9])
            mine = sum(map(int, own.read().rpartition(")")[2].split()[11:13]))
    except (OSError, ValueError):
        return None
    return user + nice + system + sum(interrupts_and_stolen) - mine


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
    forced = ", ".join(f"{k}={v}" for k, v in os.environ.items() if k in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"))
    return f"{name} kernels" + (f" (set from outside: {forced})" if forced else "")


def load():
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def introduce(torch_is="defaults"):
    """Print when and on what the numbers below were taken; torch_is None: without PyTorch."""
    import datetime

    import numpy

    import tinygen

    print(f"{datetime.date.today()}  {machine()}, load {load()} at the start")
    line = f"tinygen {tinygen.__version__} on NumPy {numpy.__version__}, {kernels()}"
    if torch_is:
        import torch

        line += f"; PyTorch {torch.__version__} with {torch_is}"
    print(line)


if __name__ == "__main__":
    serve(*json.loads(sys.argv[1]))
