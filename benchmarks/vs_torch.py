"""Whole training steps (forward, backward, Adam) in tinygen and in PyTorch on the CPU: how long, and the ratio.

    python benchmarks/vs_torch.py                       # all models, 1 and 2 threads, batch 100
    python benchmarks/vs_torch.py vae gan --threads 1 --batch 64 --tuned

Each library runs in a process of its own, with the number of threads fixed before anything is imported.  The two take turns,
round by round, while the other one waits; the ratio is the median over the rounds of (tinygen's median / PyTorch's median), so
that a slow spell of the machine hits both.  First both must agree: the same weights, data and noise, dropout off, the
same first losses.
"""

import argparse
from statistics import quantiles

from models import WORKLOADS
from workers import compare, introduce, load, pair


def main():
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

    introduce("fused Adam" if arguments.tuned else "defaults")
    print(f"batch {arguments.batch}, {arguments.rounds} rounds of {arguments.seconds} s each\n")
    header = f"{'model':33} {'threads':>7} {'PyTorch ms':>11} {'tinygen ms':>11} {'ratio':>6} {'quartiles':>12}  target"
    print(header + "\n" + "-" * len(header))
    options = {"fused": True} if arguments.tuned else {}
    for name in arguments.models or WORKLOADS:
        for threads in arguments.threads:
            mine, theirs = pair("models", threads, **options)
            with mine, theirs:
                a, b, ratios = compare(mine, theirs, name, arguments.batch, arguments.rounds, arguments.seconds)
            low, ratio, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
            target = WORKLOADS[name].target  # against PyTorch's defaults
            verdict = "" if arguments.tuned else f"<= {target} {'met' if ratio <= target else 'missed'}"
            print(
                f"{WORKLOADS[name].title:33} {threads:7} {b:11.3f} {a:11.3f} {ratio:6.3f} {low:5.2f} .. {high:4.2f}  {verdict}",
                flush=True,
            )
    print(f"\nload {load()} at the end")


if __name__ == "__main__":
    main()
