"""One convolution or transposed convolution, forward and all gradients, in tinygen and in PyTorch: a grid of shapes.

    python benchmarks/conv_layers.py                        # all shapes, 1 thread
    python benchmarks/conv_layers.py --shapes 5x5 --threads 2
    python benchmarks/conv_layers.py --shapes "transposed 128-64"

y = layer(x), then the gradients of Σ y g in x, in the weight and in the bias.  x and g lie in memory as they would inside a
network: in the order in which the library's own convolutions return their results; with one input channel x is an image, as it
comes from a data set.  Batch 100, or as many as keep a layer below about a second.  The two libraries take turns, see workers.py,
and first their results must agree.
"""

import argparse
from dataclasses import dataclass
from statistics import median

import numpy as np
from workers import compare, introduce, load, pair

WORST, MEDIAN = 2.0, 1.0  # targets, ratios to PyTorch's time
MOST_OPERATIONS = 20e9


@dataclass(frozen=True)
class Shape:
    """A layer, and the height and width of its input."""

    kind: str
    channels: tuple[int, int]
    kernel: int
    stride: int
    padding: int
    size: int

    @property
    def name(self):
        return (
            f"{self.kind} {self.channels[0]}-{self.channels[1]} {self.kernel}x{self.kernel}"
            f"{f' /{self.stride}' * (self.stride > 1)}{f' +{self.padding}' * (self.padding > 0)} on {self.size}x{self.size}"
        )

    @property
    def batch(self):
        """The largest of a few, for which the three products stay within the operations allowed."""
        pixels = (
            self.size if self.kind == "transposed" else (self.size + 2 * self.padding - self.kernel) // self.stride + 1
        )
        each = 6 * self.channels[0] * self.channels[1] * self.kernel**2 * pixels**2
        return next((n for n in (100, 50, 20, 10) if n * each <= MOST_OPERATIONS), 4)

    def __call__(self, T, rng, batch):
        return Layer(T, rng, batch, self)


class Layer:
    """The workload: forward, and backward to the input, the weight and the bias."""

    def __init__(self, T, rng, batch, shape):
        n, m = shape.channels
        layer = {"conv": T.nn.Conv2d, "transposed": T.nn.ConvTranspose2d}[shape.kind]
        self.layer = layer(n, m, shape.kernel, shape.stride, shape.padding)
        draw = lambda *sizes: T.tensor(rng.standard_normal(sizes).astype(np.float32))
        scale = (n * shape.kernel**2) ** -0.5
        self.layer.load_state_dict({k: scale * draw(*p.shape) for k, p in self.layer.named_parameters()})
        x = draw(batch, n, shape.size, shape.size)
        if n > 1:  # the identity, as a convolution: its result lies in the order that the library likes
            x = T.nn.functional.conv2d(x, T.tensor(np.eye(n, dtype=np.float32).reshape(n, n, 1, 1)))
        self.x = x.requires_grad_()
        self.g = self.layer(self.x).detach().tanh()

    def step(self, noise):
        self.x.grad = self.layer.weight.grad = self.layer.bias.grad = None
        y = self.layer(self.x)
        y.backward(self.g)
        return y

    def check(self, noise):
        """The output's and the gradients' squares, each with a weight of its own, so that every element matters and its place."""
        rng = np.random.default_rng(2)
        y = self.step(noise)
        results = (y.detach(), self.x.grad, self.layer.weight.grad, self.layer.bias.grad)
        return [float((rng.uniform(0.5, 1.5, r.shape) * np.square(r.numpy(), dtype=np.float64)).sum()) for r in results]


def shapes(kind, text):
    """Shapes from lines of: channels in, out, kernel, stride, padding, size."""
    for line in text.strip().splitlines():
        n, m, *rest = map(int, line.split())
        yield Shape(kind, (n, m), *rest)


GRID = [
    *shapes(
        "conv",
        """
          1  32  5 1 0  28
          1  64  4 2 1  28
          1   8  3 1 1  28
          1  32  7 1 3  64
          8   8  3 1 1  16
          8  32  5 1 2  32
          8  64  3 2 1  32
         32   8  4 1 0   4
         32  32  1 1 0  28
         32  32  3 1 1   8
         32  32  3 1 1  16
         32  32  3 1 1  64
         32  32  5 1 0  24
         32  32  7 1 3  28
         32  32  4 2 0  20
         32  32  3 2 0   9
         32   1  5 1 2  28
         64  64  1 1 0  16
         64  64  3 1 1  14
         64  64  5 1 2  16
         64 128  4 2 1  14
         64 128  3 2 1  32
         64   1  3 1 1  28
        128 128  1 1 0   8
        128 128  3 1 1   7
        128 128  3 1 1  32
        128  64  5 1 2   8
        128 128  7 1 3  16
        128  32  1 2 0  16
        128   8  1 1 0  32
        """,
    ),
    *shapes(
        "transposed",
        """
          8  32  4 1 0   1
         32  32  3 2 0   4
         32  32  4 2 0   9
         32  32  5 1 0  20
         32   1  5 1 0  24
        128  64  4 2 1   7
         64   1  4 2 1  14
        128 128  4 2 1   4
         64  32  4 2 1  16
         64  64  3 1 1  16
         64  64  1 1 0  16
         32   8  7 2 3  16
          8   1  3 2 1  32
        128  32  5 2 2   8
        """,
    ),
]
WORKLOADS = {shape.name: shape for shape in GRID}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shapes", default="", metavar="TEXT", help="only those whose name contains this (default: all)"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="of one library in one round (at least one step)")
    arguments = parser.parse_args()
    chosen = [shape for shape in GRID if arguments.shapes in shape.name]
    if not chosen:
        parser.error(f"no shape's name contains {arguments.shapes!r}; there are:\n  " + "\n  ".join(WORKLOADS))

    introduce()
    print(f"forward and all gradients of one layer; {arguments.threads} thread(s), {arguments.rounds} rounds")
    print("kind, channels, kernel, /stride, +padding, input's size\n")
    header = f"{'layer':36} {'batch':>5} {'PyTorch ms':>11} {'tinygen ms':>11} {'ratio':>6}"
    print(header + "\n" + "-" * len(header))
    ratios = {}
    mine, theirs = pair("conv_layers", arguments.threads)
    with mine, theirs:
        for shape in chosen:
            a, b, rounds = compare(mine, theirs, shape.name, shape.batch, arguments.rounds, arguments.seconds)
            ratios[shape.name] = ratio = median(rounds)
            print(f"{shape.name:36} {shape.batch:5} {b:11.3f} {a:11.3f} {ratio:6.3f}", flush=True)
    worst = max(ratios, key=ratios.get)
    middle = median(ratios.values())
    print(f"\n{len(ratios)} shapes: median {middle:.3f}  <= {MEDIAN} {'met' if middle <= MEDIAN else 'missed'}")
    print(f"worst {ratios[worst]:.3f} ({worst})  <= {WORST} {'met' if ratios[worst] <= WORST else 'missed'}")
    print(f"load {load()} at the end")


if __name__ == "__main__":
    main()
