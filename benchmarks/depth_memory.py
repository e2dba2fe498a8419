"""How much memory a training step of a flow needs at its peak, against its depth, and what saving it costs in time.

    python benchmarks/depth_memory.py --picture depth_memory.png

Affine couplings with convolutional networks (hidden channels) on images of 28 x 28, forward, backward and SGD, in four ways:

    plain          every value is kept that the backward pass needs
    checkpoint     autograd.checkpoint around every coupling: its input is kept, the rest is computed once more
    by sqrt(n)     checkpoint around every sqrt(depth) couplings
    invertible     autograd.checkpoint_invertible: inputs are rebuilt from the output

Every row has a fresh process per way.  Parameters and gradients, which no way can save, are subtracted from the peak of resident
memory; what is left is fitted by depth^a.  The ways take turns for the times.  `error` is how far
the invertible way's gradient is from the plain one, relative to its length, in float32; checkpoint's is the plain one to the last
bit (tests/test_recompute.py).  Linux only.
"""

import argparse
import contextlib
import datetime
import math
import sys
from functools import partial
from statistics import median

import numpy as np
from workers import Worker, kernels, load, machine

WAYS = ("plain", "checkpoint", "by sqrt(n)", "invertible")
DEPTHS = (4, 8, 16, 32, 64)
SIZE, HIDDEN = 28, 32


def couplings(T, depth):
    """Affine couplings whose checkerboards alternate; s and t are three convolutions each."""
    conv = partial(T.nn.Conv2d, kernel_size=3, padding=1)
    net = lambda *last: T.nn.Sequential(
        conv(1, HIDDEN), T.nn.ReLU(), conv(HIDDEN, HIDDEN), T.nn.ReLU(), conv(HIDDEN, 1), *last
    )
    masks = [T.nn.flows.checkerboard_mask((1, SIZE, SIZE), i % 2) for i in range(depth)]
    return [T.nn.AffineCoupling(mask, scale_net=net(T.nn.Tanh()), translate_net=net()) for mask in masks]


class Step:
    """One training step of a stack of couplings over N(0, I)."""

    def __init__(self, way, depth, T, rng, batch):
        T.manual_seed(0)
        self.T, self.way = T, way
        layers = couplings(T, depth)
        self.flow = T.nn.flows.Composition(*layers)
        k = {"checkpoint": 1, "by sqrt(n)": round(math.sqrt(depth))}.get(way, depth)
        self.segments = [T.nn.flows.Composition(*layers[i : i + k]) for i in range(0, depth, k)]
        self.optimizer = T.optim.SGD(self.flow.parameters(), lr=1e-6)
        self.x = T.tensor(rng.normal(size=(batch, 1, SIZE, SIZE)).astype(np.float32))

    def forward(self, x):
        if self.way == "plain":
            return self.flow(x)
        if self.way == "invertible":
            return self.T.autograd.checkpoint_invertible(self.flow, x)
        logdet = 0.0
        for segment in self.segments:
            x, change = self.T.autograd.checkpoint(segment, x)
            logdet = logdet + change
        return x, logdet

    def step(self, noise):
        self.optimizer.zero_grad()
        z, logdet = self.forward(self.x)
        loss = (0.5 * (z**2).flatten(1).sum(1) - logdet).mean()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def check(self, noise):
        """The first losses, and the sizes of the gradients that the last of them left."""
        losses = [self.step(noise) for _ in range(2)]
        return losses + [float(p.grad.norm().item()) for p in self.flow.parameters()]


WORKLOADS = {f"{way}, {depth}": partial(Step, way, depth) for way in WAYS for depth in range(1, 129)}


def fixed(depth):
    """MiB of parameters and gradients."""
    import tinygen as tg

    return 2 * sum(p.array.nbytes for f in couplings(tg, depth) for p in f.parameters()) / 2**20


def measure(depth, threads, batch, rounds):
    """({way: MiB beside parameters and gradients}, {way: ms of a step}, {way: ratio to the plain step}) at one depth."""
    peaks, times = {}, []
    for way in WAYS:
        with Worker("tinygen", "depth_memory", threads) as worker:
            peaks[way] = worker.ask("memory", f"{way}, {depth}", batch, 2) - fixed(depth)
    with contextlib.ExitStack() as stack:
        workers = {way: stack.enter_context(Worker("tinygen", "depth_memory", threads)) for way in WAYS}
        for way, worker in workers.items():
            worker.ask("build", f"{way}, {depth}", batch)
            worker.ask("times", 0)
        for _ in range(rounds):
            times.append({way: worker.ask("times", 0)[0] for way, worker in workers.items()})
    ratios = {way: median(t[way] / t["plain"] for t in times) for way in WAYS}
    return peaks, {way: median(t[way] for t in times) for way in WAYS}, ratios


def exponent(depths, values):
    """a of the closest c depth^a, on logarithmic axes."""
    return np.polyfit(np.log(depths), np.log(values), 1)[0]


def error(way, depth, batch=2):
    """How far the gradient is from the plain one, relative to its length, in float32."""
    import tinygen as tg

    def gradient(way):
        work = Step(way, depth, tg, np.random.default_rng(0), batch)
        work.step(None)
        return np.concatenate([p.grad.numpy().ravel() for p in work.flow.parameters()]).astype(np.float64)

    plain = gradient("plain")
    return np.linalg.norm(gradient(way) - plain) / np.linalg.norm(plain)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--picture", help="a PNG of the table is written there")
    arguments = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.error("only Linux tells the peak of a process's memory in a way that can be reset")

    import tinygen as tg
    from tinygen import plot

    print(f"{datetime.date.today()}  {machine()}, load {load()} at the start")
    print(f"tinygen {tg.__version__} on NumPy {np.__version__}, {kernels()}; {arguments.threads} thread(s)")
    print(f"couplings on {SIZE} x {SIZE}, hidden {HIDDEN}, batch {arguments.batch}; MiB at the peak of a step beside")
    print("parameters and gradients, and the step's time as a multiple of the plain one's\n")
    header = f"{'depth':>5} {'fixed MiB':>10}" + "".join(f"{way:>20}" for way in WAYS) + f"{'plain ms':>10}{'error':>9}"
    print(header + "\n" + "-" * len(header))
    rows = []
    for depth in arguments.depths:
        peaks, times, ratios = measure(depth, arguments.threads, arguments.batch, arguments.rounds)
        rows.append(peaks)
        cells = "".join(f"{peaks[way]:12.1f}  x {ratios[way]:4.2f}" for way in WAYS)
        print(
            f"{depth:5} {fixed(depth):10.1f}{cells}{times['plain']:10.0f}{error('invertible', depth):9.0e}", flush=True
        )
    if len(rows) > 1:
        fits = {way: exponent(arguments.depths, [row[way] for row in rows]) for way in WAYS}
        print(f"\n{'memory ~ depth^':16}" + "".join(f"{fits[way]:12.2f}        " for way in WAYS).rstrip())
        if arguments.picture:
            series = {
                f"{way}: depth$^{{{fits[way]:.2f}}}$": (arguments.depths, [row[way] for row in rows]) for way in WAYS
            }
            plot.curves(
                series,
                arguments.picture,
                xlabel="couplings",
                ylabel="MiB at the peak, beside parameters",
                title=f"One training step: {SIZE}×{SIZE} images, hidden {HIDDEN}, batch {arguments.batch}",
            )
    print(f"\nload {load()} at the end")


if __name__ == "__main__":
    main()
