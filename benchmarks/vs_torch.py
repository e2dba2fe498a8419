"""Whole training steps (forward, backward, Adam) in tinygen and in PyTorch on the CPU: how long, and the ratio.

    python benchmarks/vs_torch.py                       # all models, 1 and 2 threads, batch 100
    python benchmarks/vs_torch.py vae gan --threads 1 --batch 64 --tuned

Each library runs in a process of its own, with the number of threads fixed before anything is imported.  The two take turns,
round by round, while the others wait; the ratio is the median over the rounds of (tinygen's median / PyTorch's median), so
that a slow spell of the machine hits both.  First both must agree: the same weights, data and noise, dropout off, the
same first losses.  tinygen takes part twice: as it is, and with the step compiled by `tinygen.compile`.
"""

import argparse
from contextlib import ExitStack
from statistics import median, quantiles

from models import WORKLOADS
from workers import Worker, introduce, load, take_turns


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
    header = (
        f"{'model':33} {'threads':>7} {'PyTorch ms':>11} {'tinygen ms':>11} {'ratio':>6} {'quartiles':>12} "
        f"{'compiled ms':>12} {'ratio':>6} {'quartiles':>12}  target"
    )
    print(header + "\n" + "-" * len(header))
    options = {"fused": True} if arguments.tuned else {}
    for name in arguments.models or WORKLOADS:
        for threads in arguments.threads:
            with ExitStack() as stack:
                workers = [
                    stack.enter_context(Worker(library, "models", threads, **(options if library == "torch" else {})))
                    for library in ("tinygen", "compiled", "torch")
                ]
                *ours, theirs = take_turns(workers, name, arguments.batch, arguments.rounds, arguments.seconds).values()
            line, best = f"{WORKLOADS[name].title:33} {threads:7} {median(theirs):11.3f}", []
            for mine, width in zip(ours, (11, 12), strict=True):
                ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
                low, ratio, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
                line += f" {median(mine):{width}.3f} {ratio:6.3f} {low:5.2f} .. {high:4.2f}"
                best.append(ratio)
            target = WORKLOADS[name].target  # against PyTorch's defaults
            verdict = "" if arguments.tuned else f"  <= {target} {'met' if min(best) <= target else 'missed'}"
            print(line + verdict, flush=True)
    print(f"\nload {load()} at the end")


if __name__ == "__main__":
    main()
