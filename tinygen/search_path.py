"""`python -m tinygen` does not look for modules in the current folder, which may be a run that somebody else has made.

Python itself puts the current folder before all others: a numpy.py in it would be executed as NumPy.  The command `tinygen` has
no such folder.  (What cannot be helped from here: a folder with a tinygen of its own.  `python -P -m tinygen` ignores that too.)
"""

import os
import sys


def _without_current_folder() -> None:
    # While Python looks for the module of -m, sys.argv is ["-m", *the module's arguments].
    if sys.argv[:1] != ["-m"] or sys.flags.safe_path:
        return
    module = sys.orig_argv[-len(sys.argv)] if len(sys.argv) <= len(sys.orig_argv) else ""
    if module.removeprefix("-m") in ("tinygen", "tinygen.__main__") and sys.path[:1] in ([os.getcwd()], [""]):
        del sys.path[0]


_without_current_folder()  # when it is imported, before all others
