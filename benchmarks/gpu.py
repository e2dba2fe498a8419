"""Whole training steps on a GPU: tinygen, plain and as captured CUDA graphs, beside PyTorch, eager and compiled.

    python benchmarks/gpu.py                            # all models, and the MLPs at ten times the width
    python benchmarks/gpu.py vae gan-x10 --batch 1000 --rounds 21
    python benchmarks/gpu.py --tf32                     # products may round their factors to TF32, in both libraries
    python benchmarks/gpu.py --skip torch-compiled      # it takes a minute a model to compile

One process per library, which take turns; the median of the rounds.  A step is zero_grad, forward, backward and Adam, with its
random draws; nobody reads the loss, and the GPU has done everything before a clock is read.  Before, all must agree in the
first losses.  The columns:

    torch            PyTorch as it comes, but without TF32 in convolutions either
    torch-compiled   the step in torch.compile(mode="reduce-overhead"), which captures graphs, too
    tinygen          as it comes
    compiled         the step in tinygen.compile

Measured in the same run: the rate of square float32 products and of copies, and the time from one small kernel to the next (these
are what `tinygen.backend.base.GPU` reckons with).  From them follows the limit of a step, as in limits.py: the products at the
best rate or at the memory's, whichever is slower, and Adam's bytes; in brackets, how much of it each step reaches, in percent.
"""

import argparse
import sys
from contextlib import suppress
from functools import partial
from statistics import median

import limits
import models
from workers import Worker, agree, introduce, load

import tinygen

TIMES = 10
"""Wider."""
COPIES = (1, 16, 256, 1024)  # MiB
SQUARES = (1024, 4096, 8192)
REPEATED = 20
"""Products, copies or kernels between two readings of the clock, which take a few microseconds themselves."""
READY = 6
"""Steps before any counts: recordings and captures are over by then."""


def wide(workload):
    return type(f"Wide{workload.__name__}", (workload,), {"widths": tuple(TIMES * n for n in workload.widths)})


MODELS = {
    **models.WORKLOADS,
    **{f"{name}-x{TIMES}": wide(models.WORKLOADS[name]) for name in ("ae", "vae", "gan")},
}


class Place:
    """Where a library T computes, and how it is waited for."""

    def __init__(self, T, device, tf32):
        T.set_default_device(device)
        self.T, self.device, self.is_torch = T, device, T is not tinygen
        if self.is_torch:
            T.backends.cuda.matmul.allow_tf32 = T.backends.cudnn.allow_tf32 = tf32
        else:
            T.backend.allow_tf32(tf32)

    def wait(self):
        if not self.is_torch:
            self.T.backend.synchronize()
        elif self.device.startswith("cuda"):
            self.T.cuda.synchronize()


class OnDevice:
    """A workload of models.py there: in `step` nobody reads the losses, in `check` they are compared."""

    def __init__(self, workload, T, rng, batch, device="cuda", tf32=False, compiled=False):
        self.place = Place(T, device, tf32)
        self.work = workload(T, rng, batch)
        self.begin = lambda: None
        if compiled and self.place.is_torch:
            self.work.update = T.compile(self.work.update, mode="reduce-overhead")
            self.begin = T.compiler.cudagraph_mark_step_begin  # the last step's losses may be overwritten
        elif compiled:
            self.work.update = T.compile(self.work.update)

    def step(self, noise):
        self.begin()
        self.work.update(*self.work.draw(noise))
        self.place.wait()

    def check(self, noise):
        return self.work.check(noise)


class Repeated:
    """Something small, several times between two readings of the clock."""

    def __init__(self, T, rng, size, device="cuda", tf32=False, compiled=False):
        self.place = Place(T, device, tf32)
        self.T = T
        self.prepare(size)

    def step(self, noise):
        for _ in range(REPEATED):
            self.work()
        self.place.wait()


class Product(Repeated):
    def prepare(self, n):
        self.a, self.b = self.T.randn(n, n), self.T.randn(n, n)

    def work(self):
        self.T.matmul(self.a, self.b)


class Copy(Repeated):
    def prepare(self, mebibytes):
        self.a = self.T.zeros(mebibytes << 18)

    def work(self):
        self.T.clone(self.a)


class Kernel(Repeated):
    def prepare(self, n):
        self.a = self.T.ones(n)

    def work(self):
        self.T.exp(self.a)


WORKLOADS = {
    **{name: partial(OnDevice, workload) for name, workload in MODELS.items()},
    "product": Product,
    "copy": Copy,
    "kernel": Kernel,
}


class Card:
    """What the device can do, by the better of the two libraries; as limits.py asks for it."""

    def __init__(self, workers, squares, copies, seconds):
        self.seconds = seconds
        self.products = {n: [2 * n**3 / self._time(w, "product", n) for w in workers] for n in squares}
        self.copies = {m: [2 * (m << 20) / self._time(w, "copy", m) for w in workers] for m in copies}
        self.kernels = [self._time(w, "kernel", 1) for w in workers]

    def _time(self, worker, name, size):
        """Seconds."""
        worker.ask("build", name, size)
        worker.ask("times", self.seconds)
        return median(worker.ask("times", self.seconds)) / REPEATED / 1e3

    @property
    def peak(self):
        return max(map(max, self.products.values()))

    def rate(self, size):
        return self.peak

    def bandwidth(self, count):
        """Bytes per second, for arrays of that many bytes: the best of this size and of larger ones."""
        fitting = [max(rates) for m, rates in self.copies.items() if 2 * (m << 20) >= count]
        return max(fitting, default=max(list(self.copies.values())[-1]))

    def show(self, names):
        yield "measured: float32 products, TFLOP/s".ljust(40) + "".join(f"{f'{n}³':>9}" for n in self.products)
        for i, name in enumerate(names):
            yield f"    {name}".ljust(40) + "".join(f"{r[i] / 1e12:9.2f}" for r in self.products.values())
        yield "copies, GB/s, of MiB".ljust(40) + "".join(f"{m:>9}" for m in self.copies)
        for i, name in enumerate(names):
            yield f"    {name}".ljust(40) + "".join(f"{r[i] / 1e9:9.0f}" for r in self.copies.values())
        yield f"from one small kernel to the next: {', '.join(f'{n} {t * 1e6:.1f} µs' for n, t in zip(names, self.kernels))}"


def bound(card, name, batch):
    """The limit of a step: operations, bytes, seconds."""
    kind, _, times = name.removesuffix("-layers").partition("-x")  # the layers do realnvp's products
    widths = [MODELS[name].widths] if times else []
    return limits.bound(card, limits.PRODUCTS[kind](batch, *widths), limits.parameters(name, MODELS))


LIBRARIES = {  # the last one is what the others must agree with
    "torch-compiled": ("torch", {"compiled": True}),
    "tinygen": ("tinygen", {}),
    "compiled": ("tinygen", {"compiled": True}),
    "torch": ("torch", {}),
}


class Team:
    """A worker per column; one that has died is replaced, so that one model less is all it costs."""

    def __init__(self, names, **options):
        self.names, self.options, self.workers = names, options, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in list(self.workers):
            self.dismiss(name)

    def dismiss(self, name):
        with suppress(Exception):
            self.workers.pop(name).__exit__()

    def __getitem__(self, name):
        if name not in self.workers:
            library, options = LIBRARIES[name]
            self.workers[name] = Worker(library, "gpu", 1, **self.options, **options)
        return self.workers[name]

    def times(self, model, batch, rounds, seconds):
        """{column: ms per step in every round} of those that can, and what went wrong."""
        wrong, able = [], []
        for name in self.names:
            try:
                self[name].ask("build", model, batch)
                for _ in range(READY):
                    self[name].ask("times", 0)
                able.append(name)
            except (RuntimeError, OSError) as error:
                wrong.append(f"{name}: {error}")
                self.dismiss(name)
        for name in [n for n in able[:-1] if n != "torch-compiled"]:  # PyTorch's own affair, and it would compile again
            try:
                agree([self[name], self[able[-1]]], model, batch)
            except (RuntimeError, OSError) as error:  # other numbers are told, and timed
                wrong.append(f"{name}: {error}")
                if self[name].has_ended():
                    self.dismiss(name)
                    able.remove(name)
        result = {name: [] for name in able}
        for i in range(rounds):
            for name in able if i % 2 else able[::-1]:
                result[name].append(median(self[name].ask("times", seconds)))
        return result, wrong


COLUMNS = ("torch", "torch-compiled", "tinygen", "compiled")
RATIOS = (("tinygen", "torch"), ("compiled", "torch"), ("compiled", "torch-compiled"))
HEADER = (
    f"{'model':16} {'batch':>6} {'GFLOP':>9} {'limit ms':>9} {' '.join(f'{name:>18}' for name in COLUMNS)}"
    f"   {'   '.join(f'{a}/{b}' for a, b in RATIOS)}"
)


def row(model, batch, limit, times):
    cells = [f"{model:16} {batch:6} {limit.operations / 1e9:9.2f} {limit.limit * 1e3:9.3f}"]
    for name in COLUMNS:
        ms = median(times[name]) if times.get(name) else None
        cells.append(f"{f'{ms:.3f} ({limit.limit * 1e3 / ms:.0%})' if ms else '-':>18}")
    cells.append(" ")
    for mine, theirs in RATIOS:
        both = times.get(mine), times.get(theirs)
        ratio = f"{median(a / b for a, b in zip(*both, strict=True)):.2f}" if all(both) else "-"
        cells.append(f"{ratio:>{len(mine) + len(theirs) + 1}}  ")
    return " ".join(cells).rstrip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help=f"which: {', '.join(MODELS)} (default: all)")
    parser.add_argument("--batch", type=int, nargs="+", default=[100])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one library in one round")
    parser.add_argument("--tf32", action="store_true")
    parser.add_argument("--skip", nargs="+", default=[], choices=list(LIBRARIES), help="columns to leave out")
    parser.add_argument("--quick", action="store_true", help="one short round, batch 4; no measurement")
    parser.add_argument("--device", default="cuda", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.models) - set(MODELS):
        parser.error(f"no such model: {', '.join(sorted(unknown))}; there are {', '.join(MODELS)}")
    names = [name for name in LIBRARIES if name not in arguments.skip]
    with_torch = any(LIBRARIES[name][0] == "torch" for name in names)
    if arguments.device.startswith("cuda"):
        check_for_gpu(with_torch)
    squares, copies = SQUARES, COPIES
    if arguments.quick:
        arguments.batch, arguments.rounds, arguments.seconds, squares, copies = [4], 1, 0.01, (64,), (1,)

    introduce("its defaults, but TF32 as below" if with_torch else None)
    print(
        f"on {device_name(arguments.device)}, {'with' if arguments.tf32 else 'without'} TF32; {arguments.rounds} rounds of {arguments.seconds} s each\n"
    )
    with Team(names, device=arguments.device, tf32=arguments.tf32) as team:
        columns = [name for name in names if name in ("tinygen", "torch")]
        card = Card([team[name] for name in columns], squares, copies, arguments.seconds)
        print("\n".join(card.show(columns)))
        print(f"\nms per step (percent of the limit)\n\n{HEADER}", flush=True)
        for batch in arguments.batch:
            for model in arguments.models or MODELS:
                times, wrong = team.times(model, batch, arguments.rounds, arguments.seconds)
                print(row(model, batch, bound(card, model, batch), times), flush=True)
                for line in wrong:
                    print(f"    {line}", flush=True)
    print(f"\nload {load()} at the end")


def check_for_gpu(with_torch):
    """Leave, and say why, where there is nothing to measure."""
    try:
        tinygen.device("cuda")
    except RuntimeError as error:
        sys.exit(f"gpu.py: nothing to measure: {error}")
    if with_torch:
        import torch

        if not torch.cuda.is_available():
            sys.exit("gpu.py: PyTorch finds no GPU: install it for CUDA, or --skip torch torch-compiled")


def device_name(device):
    if not device.startswith("cuda"):
        return device
    import cupy

    return cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()


if __name__ == "__main__":
    main()
