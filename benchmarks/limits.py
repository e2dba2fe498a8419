"""What the machine could do at best, and how close tinygen and PyTorch come to it: percent of the limit, for whole training steps.

    python benchmarks/limits.py                         # all models of models.py, 1 and 2 threads, batch 100
    python benchmarks/limits.py vae conv-ae --threads 1 --products
    python benchmarks/limits.py --quick                 # seconds: does everything run

Measured first: the rate of float32 matrix products (NumPy's and PyTorch's, the better counts) at the sizes of every layer, and
the memory's bandwidth, copying (b -> a) and as a triad (b + s·c -> a), from arrays that fit the cache to such as do not.

Counted from the layers: a layer y = x·w does three products of 2·m·k·n operations each, y itself, the gradient of w, and that
of x unless x is data; a convolution is the direct one, m = batch·pixels, k = channels·k².  A product reads two of x, w, y and
writes the third; Adam reads p, g, m, v and writes p, m, v.  Everything elementwise is free, as if done on the way.

    limit = Σ over products of max(operations / best rate, bytes / bandwidth)  +  Adam's bytes / bandwidth

with the bandwidth of arrays of that size.  `products` is more modest: the products alone, each at the rate of its own size.
Ways around the direct products (convolution by frequencies) can pass 100 %.
"""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import models
import numpy as np
from peers import Arrays  # noqa: F401  workers.py asks for it
from workers import Worker, introduce, load, take_turns

BYTES = 4
ROWS = 4096  # of a product that is measured: with more of them its rate stays what it is
SQUARES = (128, 256, 512, 1024)
KIBIBYTES = (128, 512, 2048, 8192, 32768, 131072)  # of all arrays together


# Counting


@dataclass(frozen=True)
class Layer:
    """y = x·w with x of m·k numbers; as a convolution's patches overlap, its arrays hold fewer: sizes of x, w, y."""

    m: int
    k: int
    n: int
    sizes: tuple[int, int, int]

    @property
    def operations(self):
        """Of one of the three products: multiplications and additions."""
        return 2 * self.m * self.k * self.n

    @property
    def bytes(self):
        """That one of the products reads and writes."""
        return BYTES * sum(self.sizes)

    def product(self, which):
        """(rows, inner, columns) of y = x·w ("y"), of w's gradient xᵀ·dy ("w"), of x's gradient dy·wᵀ ("x")."""
        m, k, n = self.m, self.k, self.n
        return {"y": (m, k, n), "w": (k, m, n), "x": (m, n, k)}[which]


def dense(batch, *widths):
    return [Layer(batch, k, n, (batch * k, k * n, batch * n)) for k, n in pairwise(widths)]


def conv(batch, channels, out, kernel, size, to):
    """From images of size x size pixels to such of to x to."""
    sizes = batch * channels * size**2, channels * out * kernel**2, batch * out * to**2
    return Layer(batch * to**2, channels * kernel**2, out, sizes)


def transposed(batch, channels, out, kernel, size, to):
    sizes = batch * channels * size**2, channels * out * kernel**2, batch * out * to**2
    return Layer(batch * size**2, channels, out * kernel**2, sizes)


def forward(layers):
    return [(layer, "y") for layer in layers]


def trained(layers, *, data=True):
    """All three products of every layer, but not the gradient of what is data: the input of the first."""
    return [(layer, which) for i, layer in enumerate(layers) for which in ("yw" if data and i == 0 else "ywx")]


def ae(b, widths=models.Autoencoder.widths):
    return trained(dense(b, 784, *widths, 784))


def vae(b, widths=models.VAE.widths):
    hidden, latent = widths
    return trained(dense(b, 784, hidden, latent) + dense(b, hidden, latent) + dense(b, latent, hidden, 784))


def game(generator, discriminator):
    """A step of D on real and on generated images, and one of G, whose gradient passes through all of D."""
    step_d = forward(generator) + 2 * trained(discriminator)
    return step_d + trained(generator) + trained(discriminator, data=False)


def gan(b, widths=models.GAN.widths):
    return game(dense(b, models.GAN.latent, *widths, 784), dense(b, 784, *widths[::-1], 1))


def dcgan(b):
    generator = dense(b, 100, 128 * 7 * 7) + [transposed(b, 128, 64, 4, 7, 14), transposed(b, 64, 1, 4, 14, 28)]
    return game(generator, [conv(b, 1, 64, 4, 28, 14), conv(b, 64, 128, 4, 14, 7), *dense(b, 128 * 7 * 7, 1)])


def conv_ae(b):
    down = [(1, 32, 5, 28, 24), (32, 32, 5, 24, 20), (32, 32, 4, 20, 9), (32, 32, 3, 9, 4), (32, 8, 4, 4, 1)]
    up = [(8, 32, 4, 1, 4), (32, 32, 3, 4, 9), (32, 32, 4, 9, 20), (32, 32, 5, 20, 24), (32, 1, 5, 24, 28)]
    return trained([conv(b, *shape) for shape in down] + [transposed(b, *shape) for shape in up])


def realnvp(b, depth=8, hidden=16):
    nets = 2 * trained(dense(b, 2, hidden, 2))
    return nets + (depth - 1) * 2 * trained(dense(b, 2, hidden, 2), data=False)


def image_realnvp(b, hidden=32):
    """(channels, pixels a side, couplings), from one squeeze or split to the next."""
    result = []
    for channels, side, couplings in ((1, 28, 3), (4, 14, 3), (2, 14, 3), (8, 7, 3), (4, 7, 4)):
        net = [(channels, hidden), (hidden, hidden), (hidden, 2 * channels)]
        for _ in range(couplings):
            result += trained([conv(b, *ends, 3, side, side) for ends in net], data=not result)
    return result


PRODUCTS = {
    "ae": ae,
    "vae": vae,
    "gan": gan,
    "realnvp": realnvp,
    "conv-ae": conv_ae,
    "dcgan": dcgan,
    "image-realnvp": image_realnvp,
}


def parameters(name, workloads=models.WORKLOADS):
    """How many numbers the model trains."""
    import tinygen

    work = workloads[name](tinygen, np.random.default_rng(0), 1)
    return sum(p.numel() for module in work.modules for p in module.parameters())


# Measuring: workloads of a worker, NumPy's arrays or PyTorch's tensors


class Product:
    """One matrix product of a given size into an array that is there."""

    def __init__(self, T, rng, size):
        rows, inner, columns = size
        self.a, self.b, self.out = (
            T.tensor(rng.random(shape, np.float32)) for shape in ((rows, inner), (inner, columns), (rows, columns))
        )
        self.multiply = getattr(T, "mm", np.matmul)

    def step(self, noise):
        self.multiply(self.a, self.b, out=self.out)


class Copy:
    """a = b, in PyTorch, which shares it among its threads; KiB of both together."""

    arrays = 2

    def __init__(self, T, rng, kibibytes):
        count = kibibytes * 1024 // BYTES // self.arrays
        self.a, *self.others = (T.tensor(rng.random(count, np.float32)) for _ in range(self.arrays))
        self.T = T

    def step(self, noise):
        self.a.copy_(self.others[0])


class Triad(Copy):
    """a = b + s·c."""

    arrays = 3

    def step(self, noise):
        self.T.add(*self.others, alpha=0.5, out=self.a)


WORKLOADS = {"product": Product, "copy": Copy, "triad": Triad}


class Machine:
    """What one number of threads can do: `rate(size)` in operations per second, `bandwidth(bytes)` in bytes per second."""

    def __init__(self, stack, threads, seconds):
        self.seconds = seconds
        self._libraries = [stack.enter_context(Worker(library, "limits", threads)) for library in ("numpy", "torch")]
        self._rates = {}
        for n in SQUARES:
            self.rate((n, n, n))
        measured = {
            kind: [k * 1024 / self._time(self._libraries[1], kind, k) for k in KIBIBYTES] for kind in ("copy", "triad")
        }
        self.copy, self.triad = measured["copy"], measured["triad"]

    def _time(self, worker, name, size):
        worker.ask("build", name, size)
        worker.ask("times", self.seconds / 4)
        return median(worker.ask("times", self.seconds)) / 1e3

    def rates(self, size):
        """NumPy's and PyTorch's."""
        size = tuple(min(n, ROWS) for n in size)
        if size not in self._rates:
            times = [self._time(worker, "product", size) for worker in self._libraries]
            self._rates[size] = [2 * size[0] * size[1] * size[2] / t for t in times]
        return self._rates[size]

    def rate(self, size):
        return max(self.rates(size))

    @property
    def peak(self):
        return max(max(pair) for pair in self._rates.values())

    def bandwidth(self, count):
        """For arrays of that many bytes together: the better of the two, at the next size that was measured."""
        best = [max(pair) for pair in zip(self.copy, self.triad, strict=True)]
        fitting = [rate for rate, k in zip(best, KIBIBYTES, strict=True) if k * 1024 >= count]
        return fitting[0] if fitting else best[-1]


@dataclass(frozen=True)
class Bound:
    """One step of one model: operations, bytes, and seconds at the limit and for its products alone."""

    operations: int
    bytes: int
    limit: float
    products: float


def bound(machine, products, parameters):
    """The limits of a step that does these products and Adam on so many parameters.  Higher peaks of other models count, too."""
    seconds = [
        max(layer.operations / machine.peak, layer.bytes / machine.bandwidth(layer.bytes)) for layer, _ in products
    ]
    adam = 7 * BYTES * parameters
    return Bound(
        operations=sum(layer.operations for layer, _ in products),
        bytes=sum(layer.bytes for layer, _ in products) + adam,
        limit=sum(seconds) + adam / machine.bandwidth(4 * BYTES * parameters),
        products=sum(layer.operations / machine.rate(layer.product(which)) for layer, which in products),
    )


# The tables


def show_machine(machine, threads) -> Iterator[str]:
    yield f"{threads} thread(s): products at most {machine.peak / 1e9:.0f} GFLOP/s, float32"
    yield "  square products of".ljust(24) + "".join(f"{n:>9}" for n in SQUARES)
    for i, library in enumerate(("NumPy", "PyTorch")):
        cells = "".join(f"{machine.rates((n, n, n))[i] / 1e9:9.0f}" for n in SQUARES)
        yield f"    {library}, GFLOP/s".ljust(24) + cells
    yield "  arrays of KiB together".ljust(24) + "".join(f"{k:>9}" for k in KIBIBYTES)
    for name in ("copy", "triad"):
        yield f"    {name}, GB/s".ljust(24) + "".join(f"{rate / 1e9:9.1f}" for rate in getattr(machine, name))


def show_products(machine, products) -> Iterator[str]:
    """Every size once: how often it occurs in a step, and how fast it is."""
    sizes = [layer.product(which) for layer, which in products]
    for size in dict.fromkeys(sizes):
        numpy, torch = (rate / 1e9 for rate in machine.rates(size))
        yield f"    {'x'.join(map(str, size)):>20}, {sizes.count(size)} times: NumPy {numpy:6.1f}, PyTorch {torch:6.1f} GFLOP/s"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help=f"which: {', '.join(PRODUCTS)} (default: all)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.25, help="of one library in one round")
    parser.add_argument("--products", action="store_true", help="print the rate of every size, too")
    parser.add_argument("--quick", action="store_true", help="one short round, batch 4, 1 thread; no measurement")
    arguments = parser.parse_args()
    if unknown := set(arguments.models) - set(PRODUCTS):
        parser.error(f"no such model: {', '.join(sorted(unknown))}; there are {', '.join(PRODUCTS)}")
    if arguments.quick:
        arguments.threads, arguments.batch, arguments.rounds, arguments.seconds = [1], 4, 1, 0.01
    names = arguments.models or list(PRODUCTS)

    introduce()
    print(f"batch {arguments.batch}, {arguments.rounds} rounds of {arguments.seconds} s each\n")
    counted = {name: (PRODUCTS[name](arguments.batch), parameters(name)) for name in names}
    machines = {}
    with ExitStack() as stack:
        for threads in arguments.threads:
            machine = machines[threads] = Machine(stack, threads, arguments.seconds / 5)
            for layer, which in {pair for products, _ in counted.values() for pair in products}:
                machine.rate(layer.product(which))
            print("\n".join(show_machine(machine, threads)) + "\n")
            if arguments.products:
                for name in names:
                    print("\n".join([f"  {name}", *show_products(machine, counted[name][0])]) + "\n", flush=True)

    header = (
        f"{'model':14} {'threads':>7} {'MFLOP':>8} {'MB':>7} {'limit ms':>9} {'products':>9}"
        f" {'PyTorch ms':>11} {'of limit':>9} {'tinygen ms':>11} {'of limit':>9} {'compiled':>9} {'of limit':>9}"
    )
    print("time at the limit, and how much of each library's step it is; products: alone, at their own sizes\n")
    print(header + "\n" + "-" * len(header))
    for threads in arguments.threads:
        with ExitStack() as stack:
            workers = [
                stack.enter_context(Worker(name, "models", threads)) for name in ("tinygen", "compiled", "torch")
            ]
            for name in names:
                turns = take_turns(workers, name, arguments.batch, arguments.rounds, arguments.seconds).values()
                plain, compiled, torch = (median(times) for times in turns)
                b = bound(machines[threads], *counted[name])
                line = f"{name:14} {threads:7} {b.operations / 1e6:8.1f} {b.bytes / 1e6:7.1f} {b.limit * 1e3:9.3f} {b.products * 1e3:9.3f}"
                for ms, width in ((torch, 11), (plain, 11), (compiled, 9)):
                    line += f" {ms:{width}.3f} {b.limit * 1e3 / ms:9.0%}"
                print(line, flush=True)
    print(f"\nload {load()} at the end")


if __name__ == "__main__":
    main()
