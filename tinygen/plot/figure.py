"""What all pictures share: the style, the figure, and the way from a Tensor to NumPy."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import tinygen
from tinygen import atomic, backend

# Okabe and Ito's colours, and Tol's muted ones for ten classes: both keep apart under every common colour blindness.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
CLASS_COLORS = (
    *("#332288", "#88CCEE", "#44AA99", "#117733", "#999933"),
    *("#DDCC77", "#CC6677", "#882255", "#AA4499", "#7F7F7F"),
)
DASHES = ("-", "--", ":", "-.")
"""For more curves than there are colours."""
GREY = "0.45"
STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.edgecolor": "none",  # a white ground without a frame: curves and reference lines pass behind the names
    "lines.linewidth": 1.6,
    "savefig.dpi": 150,
    "text.usetex": False,
}


@contextmanager
def new_figure(path: str | Path | None, width: float, height: float, title: str | None) -> Iterator[Any]:
    """A figure in the common style, saved on leaving when there is a path.  Sizes in inches, without the title."""
    try:
        matplotlib = _matplotlib()
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("tinygen.plot needs matplotlib: pip install matplotlib") from None
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # the same picture wherever it is drawn: no file of settings has a say
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(max(width, 1.5), max(height, 0.8) + (0.35 if title else 0)), layout="constrained")
        if title:
            figure.suptitle(title, fontsize=11)
        yield figure
        if path is not None:
            with atomic.replacing(path, ending=True) as partial:
                figure.savefig(partial)


def _matplotlib() -> Any:
    """The module.  On import it reads the file matplotlibrc of the current folder, which may be a run of somebody else's."""
    if "matplotlib" not in sys.modules and os.path.lexists("matplotlibrc"):
        here = os.getcwd()
        os.chdir(Path(__file__).parent)
        try:
            import matplotlib
        finally:
            os.chdir(here)
    import matplotlib

    return matplotlib


def as_numpy(x: Any) -> np.ndarray:
    """The values of an array or Tensor of any device, as a NumPy array."""
    x = x.array if isinstance(x, tinygen.Tensor) else x
    return backend.to_numpy(x) if backend.is_array(x) else np.asarray(x)


def set_ticks(axes: Any, xticks: Sequence[Any] | None, x: Any, yticks: Sequence[Any] | None, y: Any) -> None:
    axes.set_xticks([] if xticks is None else list(x), None if xticks is None else [_text(t) for t in xticks])
    axes.set_yticks([] if yticks is None else list(y), None if yticks is None else [_text(t) for t in yticks])
    axes.tick_params(length=0, colors="black")


def _text(label: Any) -> str:
    return f"{label:.3g}" if isinstance(label, (float, np.floating)) else str(label)


def check_labels(function: str, grid: np.ndarray, columns: Any, lines: Any) -> None:
    for name, labels, n in (("columns", columns, grid.shape[1]), ("rows", lines, grid.shape[0])):
        if labels is not None and len(labels) != n:
            raise ValueError(f"{function}: {n} labels for the {name} are expected, got {len(labels)}")
