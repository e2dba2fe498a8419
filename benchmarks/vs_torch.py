"""Whole training steps (forward, backward, Adam) in tinygen and in PyTorch on the CPU: how long, and the ratio.

    python benchmarks/vs_torch.py                       # all models, 1 and 2 threads, batch 100
    python benchmarks/vs_torch.py vae gan --threads 1 --batch 64 128

Each library runs in a process of its own, with the number of threads fixed before anything is imported.  They take turns,
round by round, while the others wait; a ratio is the median over the rounds of (tinygen's median / PyTorch's median), so
that a slow spell of the machine hits both.  First all must agree: the same weights, data and noise, dropout off, the
same first losses.  tinygen takes part twice, as it is and with the step compiled by `tinygen.compile`; so does PyTorch, with its
defaults and tuned for speed (tuned.py).  `best / tuned` is the quicker of the two tinygens against that.
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
    parser.add_argument("--batch", type=int, nargs="+", default=[100])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one library in one round")
    arguments = parser.parse_args()
    if unknown := set(arguments.models) - set(WORKLOADS):
        parser.error(f"no such model: {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")

    introduce()
    print(f"{arguments.rounds} rounds of {arguments.seconds} s each\n")
    header = (
        f"{'model':33} {'threads':>7} {'batch':>5} {'PyTorch ms':>10} {'tinygen ms':>10} {'ratio':>6} {'quartiles':>12} "
        f"{'compiled ms':>11} {'ratio':>6} {'quartiles':>12}  {'target':14} {'tuned ms':>9} {'best / tuned':>12}"
    )
    print(header + "\n" + "-" * len(header))
    for name in arguments.models or WORKLOADS:
        for threads in arguments.threads:
            with ExitStack() as stack:
                sources = (("tinygen", "models"), ("compiled", "models"), ("torch", "tuned"), ("torch", "models"))
                workers = [stack.enter_context(Worker(library, source, threads)) for library, source in sources]
                for batch in arguments.batch:
                    times = take_turns(workers, name, batch, arguments.rounds, arguments.seconds).values()
                    print(row(WORKLOADS[name], threads, batch, *times), flush=True)
    print(f"\nload {load()} at the end")


def row(workload, threads, batch, plain, compiled, tuned, theirs):
    """One line of the table, from the milliseconds of every round."""
    line, best = f"{workload.title:33} {threads:7} {batch:5} {median(theirs):10.3f}", []
    for mine, width in ((plain, 10), (compiled, 11)):
        ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
        low, ratio, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        line += f" {median(mine):{width}.3f} {ratio:6.3f} {low:5.2f} .. {high:4.2f}"
        best.append(ratio)
    verdict = f"<= {workload.target} {'met' if min(best) <= workload.target else 'missed'}"
    quicker = plain if best[0] <= best[1] else compiled
    against_tuned = median(a / b for a, b in zip(quicker, tuned, strict=True))
    return f"{line}  {verdict:14} {median(tuned):9.3f} {against_tuned:12.3f}"


if __name__ == "__main__":
    main()
