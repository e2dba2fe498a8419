"""How much memory training steps need at their peak, in tinygen and in PyTorch, and the ratio.

    python benchmarks/memory.py

For every workload each library has a fresh process of its own.  It first does one step on a batch of 2, so that what is imported
and set up at the first call counts for neither; then the peak of resident memory is forgotten, the workload is built and does a
few steps, and the peak is compared with what was resident before.  Linux only: the kernel keeps the peak.
"""

import argparse
import sys

import conv_layers
import models
from workers import introduce, load, pair

TARGET = 1.5  # of PyTorch's peak
STEPS = 3  # the optimizer's state is there from the first on
BIG = conv_layers.Shape("conv", (32, 32), 5, 1, 0, 64)
WORKLOADS = {
    "D4's conv AE": models.ConvAutoencoder,
    "DCGAN 28x28, one D and one G step": models.DCGAN,
    BIG.name: BIG,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=100)
    arguments = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.error("only Linux tells the peak of a process's memory in a way that can be reset")

    introduce()
    print(f"peak of resident memory over {STEPS} steps, batch {arguments.batch}, {arguments.threads} thread(s)\n")
    header = f"{'workload':36} {'PyTorch MiB':>11} {'tinygen MiB':>11} {'ratio':>6}  target"
    print(header + "\n" + "-" * len(header))
    for name in WORKLOADS:
        mine, theirs = pair("memory", arguments.threads)
        with mine, theirs:
            a, b = (worker.ask("memory", name, arguments.batch, STEPS) for worker in (mine, theirs))
        verdict = "met" if a <= TARGET * b else "missed"
        print(f"{name:36} {b:11.1f} {a:11.1f} {a / b:6.2f}  <= {TARGET} {verdict}", flush=True)
    print(f"\nload {load()} at the end (it does not matter here)")


if __name__ == "__main__":
    main()
