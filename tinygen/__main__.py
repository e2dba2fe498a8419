"""`python -m tinygen`: see `tinygen.cli`."""

import sys

from tinygen.cli import main

if __name__ == "__main__":
    sys.exit(main())
