"""Prints the share of tinygen's public names whose types are complete, by pyright; part of `make check`.

    python -m tests.type_share          # fails below 90 %, and names what is not complete then

Not complete are mostly the rows of the operator table (`exp = Op(...)`): a type checker has to infer them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

LEAST = 0.9


def report() -> dict[str, Any]:
    """What `pyright --verifytypes` says, with what this Python has installed."""
    arguments = ["--pythonpath", sys.executable, "--verifytypes", "tinygen", "--ignoreexternal", "--outputjson"]
    run = subprocess.run([sys.executable, "-m", "pyright", *arguments], capture_output=True, text=True, timeout=900)
    if not run.stdout.lstrip().startswith("{"):
        raise RuntimeError(f"pyright did not run: {run.stdout}{run.stderr}")
    return json.loads(run.stdout)["typeCompleteness"]


def main() -> int:
    found = report()
    share = found["completenessScore"]
    if share < LEAST:
        for symbol in found["symbols"]:
            if symbol["isExported"] and not symbol["isTypeKnown"]:
                print(symbol["name"], *(line["message"].replace("\n", " ") for line in symbol["diagnostics"]), sep="  ")
    print(f"types of public names, complete: {share:.1%} (pyright; at least {LEAST:.0%})")
    return share < LEAST


if __name__ == "__main__":
    sys.exit(main())
