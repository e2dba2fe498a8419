"""How long it takes from `import tinygen` to the first result of a small convolution, each time in a fresh process.

    python benchmarks/startup.py

The first process fills the file system's cache and Python's bytecode cache, and is not counted.  NumPy's own import, without
which nothing goes, is shown beside; so is PyTorch, if it is there.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from statistics import median

TARGET = 0.3  # seconds, import and first call together

IMPORT = """
import json, time
start = time.perf_counter()
import {library}{alias}
imported = time.perf_counter()
"""
CALL = """
x, w = T.ones(2, 3, 8, 8), T.ones(4, 3, 3, 3, requires_grad=True)
T.nn.functional.conv2d(x, w, padding=1).sum().backward()
"""
REPORT = """
print(json.dumps([imported - start, time.perf_counter() - imported]))
"""


def seconds(library, call):
    """(import, first call), as a fresh process measures them."""
    program = IMPORT.format(library=library, alias=" as T" if call else "") + CALL * call + REPORT
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()

    from workers import load, machine

    print(f"{machine()}, load {load()} at the start")
    print(f"medians of {arguments.runs} fresh processes, in seconds; the call is a 3x3 convolution and its gradient\n")
    header = f"{'library':8} {'import':>7} {'first call':>11} {'together':>9}  target"
    print(header + "\n" + "-" * len(header))
    for library, call in (("numpy", False), ("tinygen", True), ("torch", True)):
        if importlib.util.find_spec(library) is None:
            print(f"{library:8} is not installed")
            continue
        seconds(library, call)
        runs = [seconds(library, call) for _ in range(arguments.runs)]
        together = median(map(sum, runs))
        verdict = f"< {TARGET} {'met' if together < TARGET else 'missed'}" if library == "tinygen" else ""
        first = f"{median(b for _, b in runs):11.3f}" if call else " " * 11
        print(f"{library:8} {median(a for a, _ in runs):7.3f} {first} {together:9.3f}  {verdict}".rstrip(), flush=True)
    print(f"\nload {load()} at the end")


if __name__ == "__main__":
    main()
