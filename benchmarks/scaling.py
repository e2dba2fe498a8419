"""How the time of a training step grows: with batch size, width, depth, image size, and the number of operators in its graph.

    python benchmarks/scaling.py --pictures docs/pictures      # all of it, a few minutes
    python benchmarks/scaling.py graph depth --quick           # the smallest sizes, in seconds

tinygen as it is, with the step compiled by `tinygen.compile`, and PyTorch where it is installed, each in a process of its own;
they take turns, round by round, and must agree in what they compute.  A time is the median over the rounds (3 for a million
operators), a ratio the median of the rounds' ratios to PyTorch.  The exponent is a of the closest c·size^a through the upper
half of the sizes: at small ones a step costs mostly what its operators cost however little they do.  How memory grows with depth
is in depth_memory.py.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from depth_memory import exponent
from models import Training, fill, mlp
from workers import Worker, introduce, load, take_turns

import tinygen

NAMES = {"tinygen": "tinygen", "compiled": "compiled", "torch": "PyTorch"}
TARGET = 4.0  # µs that the engine takes per operator of a small graph, forward and backward


class Fit(Training):
    """Forward, backward and Adam, on the squared error between a network's output and its input."""

    checked_steps = 2

    def __init__(self, network, T, rng, *shape):
        self.model, self.modules = network, [network]
        fill(T, rng, self.modules)
        self.optimizer = T.optim.Adam(network.parameters(), lr=1e-3)
        self.mse = T.nn.functional.mse_loss
        self.x = T.tensor(rng.standard_normal(shape).astype(np.float32))

    def update(self):
        self.optimizer.zero_grad()
        loss = self.mse(self.model(self.x), self.x)
        loss.backward()
        self.optimizer.step()
        return (loss,)


def dense(width, T, rng, batch):
    return Fit(mlp(T, width, width, width, width), T, rng, batch, width)


def convolutional(side, T, rng, batch):
    conv, R = partial(T.nn.Conv2d, kernel_size=3, padding=1), T.nn.ReLU
    return Fit(T.nn.Sequential(conv(1, 16), R(), conv(16, 16), R(), conv(16, 1)), T, rng, batch, 1, side, side)


class Deep(Training):
    """Forward and backward through many small layers, ReLU(W x + b).

    W is the identity, b = 0 and x > 0: neither values nor gradients vanish or grow, however many layers there are.
    """

    width = 8

    def __init__(self, depth, T, rng, batch):
        self.model = mlp(T, *[self.width] * (depth + 1), last=T.nn.ReLU())
        self.modules = [self.model]
        for p in self.model.parameters():
            (T.nn.init.eye_ if p.ndim > 1 else T.nn.init.zeros_)(p)
        self.x = T.tensor(rng.uniform(0.5, 1, (batch, self.width)).astype(np.float32))

    def update(self):
        self.model.zero_grad()
        loss = (self.model(self.x) * self.x).sum()
        loss.backward()
        return (loss,)

    def check(self, noise):
        """The loss, and how long the gradients in the first layer and in the last are."""
        loss = self.step(noise)
        gradients = [p.grad for p in self.model.parameters()]
        return [loss, *(gradients[i].norm().item() for i in (0, 1, -2, -1))]


class Graph(Training):
    """Forward and backward through a chain of operators, y = y·w, y = y + b, and so on, of 32 numbers each."""

    def __init__(self, operators, T, rng, batch):
        numbers = rng.uniform(0.5, 1, 32), np.ones(32), np.full(32, 1 / operators)
        self.operators = operators
        self.leaves = [T.tensor(a.astype(np.float32), requires_grad=True) for a in numbers]

    def update(self):
        y, w, b = self.leaves
        for x in self.leaves:
            x.grad = None
        for _ in range(self.operators // 2):
            y = y * w
            y = y + b
        loss = y.sum()
        loss.backward()
        return (loss,)

    def check(self, noise):
        """The loss, and how long the gradients are."""
        return [self.step(noise), *(x.grad.norm().item() for x in self.leaves)]


def by_hand(operators, y, w, b):
    """The same chain in NumPy alone: the gradients of y, w and b."""
    met, gw, gb = [], np.zeros_like(w), np.zeros_like(b)
    for _ in range(operators // 2):
        met.append(y)
        y = y * w
        y = y + b
    g = np.ones_like(y)
    for x in reversed(met):
        gb += g
        gw += g * x
        g = g * w
    return g, gw, gb


def microseconds_by_hand(operators, repetitions=50):
    """Of one operator; the median."""
    leaves = [x.array for x in Graph(operators, tinygen, np.random.default_rng(0), 1).leaves]
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        by_hand(operators, *leaves)
        times.append(time.perf_counter() - start)
    return median(times) / operators * 1e6


@dataclass(frozen=True)
class Study:
    """What grows, and what is timed: make(size, T, rng, batch) is a workload for both libraries."""

    title: str
    axis: str
    sizes: tuple[int, ...]
    make: Callable
    batch: int = 100
    per: str = ""  # times are divided by the size, and are what one of these costs
    compiled_up_to: int = 10**9

    def unit(self):
        return f"µs per {self.per}" if self.per else "ms per step"

    def shown(self, milliseconds, size):
        return milliseconds * 1e3 / size if self.per else milliseconds


STUDIES = {
    "batch": Study(
        "MLP of 3 layers, 256 wide: a step with Adam",
        "batch size",
        (1, 4, 16, 64, 256, 1024, 4096),
        lambda batch, T, rng, _: dense(256, T, rng, batch),
    ),
    "width": Study(
        "MLP of 3 layers, batch 100: a step with Adam", "width of the layers", (8, 32, 128, 512, 1024, 2048), dense
    ),
    "depth": Study(
        "MLP 8 wide, batch 8: forward and backward", "layers", (10, 30, 100, 300, 1000, 3000, 10_000), Deep, batch=8
    ),
    "image": Study(
        "3 convolutions, 16 channels, batch 16: a step with Adam",
        "image side, pixels",
        (8, 16, 32, 64, 128),
        convolutional,
        batch=16,
    ),
    # A compiled step is a program of several lines per operator, which takes Python far longer to compile than a step takes.
    "graph": Study(
        "Chain of operators on 32 numbers: forward and backward",
        "operators",
        (10, 100, 1000, 10_000, 100_000, 1_000_000),
        Graph,
        per="operator",
        compiled_up_to=10_000,
    ),
}
WORKLOADS = {f"{name}, {size}": partial(s.make, size) for name, s in STUDIES.items() for size in s.sizes}


def measure(name, size, workers, rounds, seconds):
    """{library: what is shown of every round}, for those that take part at this size."""
    about = STUDIES[name]
    taking_part = [w for w in workers if w.library != "compiled" or size <= about.compiled_up_to]
    rounds = min(rounds, 3) if size >= 10**6 else rounds  # a step of a million operators takes ten seconds
    times = take_turns(taking_part, f"{name}, {size}", about.batch, rounds, seconds)
    return {worker.library: [about.shown(ms, size) for ms in times[worker]] for worker in taking_part}


def cells(times, libraries):
    """A line of the table: the medians, and beside them the ratios to PyTorch where it takes part."""
    line = ""
    for library in libraries:
        line += f"{median(times[library]):12.3f}" if library in times else f"{'-':>12}"
        if library != "torch" and "torch" in libraries:
            ratios = [a / b for a, b in zip(times.get(library, ()), times["torch"])]
            line += f"{median(ratios):7.3f}" if ratios else f"{'-':>7}"
    return line


def study(name, sizes, libraries, threads, rounds, seconds, pictures):
    """Measure and print one study; returns {size: {library: its median}}."""
    about = STUDIES[name]
    print(f"\n{name}. {about.title}; {about.unit()}")
    width = max(len(about.axis), 12)
    header = f"{about.axis:>{width}}"
    for library in libraries:
        header += f"{NAMES[library]:>12}" + (f"{'ratio':>7}" if library != "torch" and "torch" in libraries else "")
    print(header + "\n" + "-" * len(header))
    table = {}
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(library, "scaling", threads)) for library in libraries]
        for size in sizes:
            times = measure(name, size, workers, rounds, seconds)
            print(f"{size:{width},}" + cells(times, libraries), flush=True)
            table[size] = {library: median(values) for library, values in times.items()}
    curves = {library: [(n, row[library]) for n, row in table.items() if library in row] for library in libraries}
    fits = {library: upper_half(points) for library, points in curves.items()}
    line = f"{'exponent':>{width}}"
    for library in libraries:
        line += f"{fits[library]:12.2f}" + " " * 7 * (library != "torch" and "torch" in libraries)
    print(line.rstrip())
    if pictures:
        draw(about, curves, fits, threads, Path(pictures) / f"scaling_{name}.png")
    return table


def upper_half(points):
    """The exponent of the upper half of the (size, time) points."""
    return exponent(*zip(*points[len(points) // 2 :])) if len(points) > 3 else exponent(*zip(*points))


def draw(about, curves, fits, threads, path):
    """The times on logarithmic axes, with a point and a tick for every size."""
    from tinygen import plot

    figure = plot.curves(
        {f"{NAMES[k]}: size$^{{{fits[k]:.2f}}}$": tuple(zip(*points)) for k, points in curves.items()},
        xlabel=about.axis,
        ylabel=about.unit(),
        title=about.title + ("" if threads == 1 else f", {threads} threads"),
        logx=True,
        logy=True,
    )
    (axes,) = figure.axes
    sizes = sorted({size for points in curves.values() for size, _ in points})
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.set_xticks([], minor=True)
    for line in axes.lines:
        line.set(marker="o", markersize=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", help=f"which: {', '.join(STUDIES)} (default: all)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--seconds", type=float, default=0.1, help="of one library in one round, or one step if that is longer"
    )
    parser.add_argument("--pictures", metavar="FOLDER", help="scaling_NAME.png is written there for each")
    parser.add_argument(
        "--quick", action="store_true", help="the three smallest sizes, a round of 0.01 s: no times to trust"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.studies) - set(STUDIES):
        parser.error(f"no such study: {', '.join(sorted(unknown))}; there are {', '.join(STUDIES)}")
    rounds, seconds = (1, 0.01) if arguments.quick else (arguments.rounds, arguments.seconds)

    torch = importlib.util.find_spec("torch") is not None
    libraries = ["tinygen", "compiled"] + ["torch"] * torch
    introduce("defaults" if torch else None)
    print(f"{arguments.threads} thread(s), {rounds} round(s) of {seconds} s each; ratio: to PyTorch, below 1 is faster")
    for name in arguments.studies or STUDIES:
        sizes = STUDIES[name].sizes[: 3 if arguments.quick else None]
        table = study(name, sizes, libraries, arguments.threads, rounds, seconds, arguments.pictures)
        if name == "graph":
            costs = ", ".join(f"{NAMES[k]} {v:.2f} µs" for k, v in table[1000].items())
            numpy = microseconds_by_hand(1000)
            own = table[1000]["tinygen"] - numpy
            print(
                f"\none operator among 1,000, forward and backward: {costs}; NumPy by hand {numpy:.2f} µs, so tinygen's engine "
                f"{own:.2f} µs; target for the engine <= {TARGET:g} µs: {'met' if own <= TARGET else 'missed'}"
            )
    print(f"\nload {load()} at the end")


if __name__ == "__main__":
    main()
