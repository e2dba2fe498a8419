"""Grids of images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.plot.figure import as_numpy, check_labels, new_figure, set_ticks

MAGENTA = np.array([1, 0, 1], np.float32)


def image_grid(
    images: Any, path: str | Path | None = None, *, ncols: int = 8, title: str | None = None, cell: float = 0.6
) -> Any:
    """Images side by side, row by row: (N, H, W), (N, 1, H, W) or (N, 3, H, W), in [0, 1].

    Values outside [0, 1] are clipped; NaN is drawn in magenta, so that it cannot be missed.  cell: inches per image.
    Raises ValueError for other shapes, no image at all, or ncols < 1.
    """
    images = _images("image_grid", images)
    if ncols < 1:
        raise ValueError(f"image_grid: ncols >= 1 is expected, got {ncols}")
    ncols = min(ncols, len(images))
    nrows = -(-len(images) // ncols)
    blank = np.ones((nrows * ncols - len(images), *images.shape[1:]), images.dtype)
    images = np.concatenate([images, blank]).reshape(nrows, ncols, *images.shape[1:])
    with new_figure(path, cell * ncols, cell * nrows * _aspect(images), title) as figure:
        _show_mosaic(figure, images)
    return figure


def rows(
    images: Mapping[str, Any], path: str | Path | None = None, *, title: str | None = None, cell: float = 0.6
) -> Any:
    """Labelled rows of images under one another, for comparing column by column: {"original": x, "PCA": y, ...}.

    Each value is (N, H, W) or (N, C, H, W) in [0, 1], all of the same shape.
    Raises ValueError when there is no row or the shapes differ.
    """
    stacks = [_images("rows", value) for value in images.values()]
    if not stacks or any(stack.shape != stacks[0].shape for stack in stacks):
        shapes = ", ".join(f"{name} {stack.shape}" for name, stack in zip(images, stacks))
        raise ValueError(f"rows: rows of images of the same shape are expected, got {shapes or 'none'}")
    grid = np.stack(stacks)
    with new_figure(path, cell * grid.shape[1] + 1, cell * len(grid) * _aspect(grid), title) as figure:
        _show_mosaic(figure, grid, yticks=list(images))
    return figure


def latent_walk(
    images: Any,
    path: str | Path | None = None,
    *,
    values: Sequence[Any] | None = None,
    labels: Sequence[Any] | None = None,
    xlabel: str = "",
    title: str | None = None,
    cell: float = 0.6,
) -> Any:
    """What changes along a path in latent space: (R, C, H, W) or (R, C, channels, H, W), one walk per row.

    values: the C positions along the walk, written under the columns; labels: the R names of the rows.
    """
    grid = _grid_of_images("latent_walk", images)
    check_labels("latent_walk", grid, values, labels)
    with new_figure(path, cell * grid.shape[1] + 0.8, cell * len(grid) * _aspect(grid) + 0.3, title) as figure:
        _show_mosaic(figure, grid, xticks=values, yticks=labels).set_xlabel(xlabel)
    return figure


def manifold(
    images: Any,
    path: str | Path | None = None,
    *,
    x: Sequence[float] | None = None,
    y: Sequence[float] | None = None,
    xlabel: str = "$z_1$",
    ylabel: str = "$z_2$",
    title: str | None = None,
    cell: float = 0.4,
) -> Any:
    """The decoder's picture of a plane of latent space, without gaps: (R, C, H, W) or (R, C, channels, H, W).

    The first row is drawn on top.  x, y: the latent coordinates of the C columns and the R rows.
    """
    grid = _grid_of_images("manifold", images)
    check_labels("manifold", grid, x, y)
    with new_figure(path, cell * grid.shape[1] + 0.6, cell * len(grid) * _aspect(grid) + 0.5, title) as figure:
        axes = _show_mosaic(figure, grid, xticks=_thin(x), yticks=_thin(y), gap=0)
        axes.set_xlabel(xlabel if x is not None else "")
        axes.set_ylabel(ylabel if y is not None else "")
    return figure


def _images(function: str, images: Any) -> np.ndarray:
    """Images as (N, H, W) or (N, H, W, 3), floats in [0, 1]."""
    images = as_numpy(images)
    shape = images.shape
    if images.ndim == 4 and shape[1] == 1:
        images = images[:, 0]
    elif images.ndim == 4 and shape[1] == 3:
        images = images.transpose(0, 2, 3, 1)
    if not (images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3)) or 0 in shape:
        raise ValueError(
            f"{function}: images of shape (N, H, W), (N, 1, H, W) or (N, 3, H, W) are expected, got {shape}; "
            "reshape vectors first: x.reshape(-1, 28, 28)"
        )
    return np.clip(images.astype(np.float32), 0, 1)


def _grid_of_images(function: str, images: Any) -> np.ndarray:
    """(R, C, H, W) or (R, C, channels, H, W), checked as `_images` does."""
    images = as_numpy(images)
    if images.ndim not in (4, 5):
        raise ValueError(f"{function}: (R, C, H, W) or (R, C, channels, H, W) is expected, got {images.shape}")
    checked = _images(function, images.reshape(-1, *images.shape[2:]))
    return checked.reshape(*images.shape[:2], *checked.shape[1:])


def _aspect(grid: np.ndarray) -> float:
    return grid.shape[2] / grid.shape[3]


def _show_mosaic(
    figure: Any,
    grid: np.ndarray,
    xticks: Sequence[Any] | None = None,
    yticks: Sequence[Any] | None = None,
    gap: float = 0.08,
) -> Any:
    """All images of (R, C, H, W[, 3]) as one picture, a white gap (a fraction of the width) between them.  -> axes"""
    nrows, ncols, height, width = grid.shape[:4]
    # Small images are enlarged first, so that a gap narrower than their pixels can be drawn.
    zoom = max(1, math.ceil(56 / width))
    grid = grid.repeat(zoom, axis=2).repeat(zoom, axis=3)
    height, width = height * zoom, width * zoom
    pad = round(gap * width)
    canvas = np.ones((nrows * (height + pad) - pad, ncols * (width + pad) - pad, *grid.shape[4:]), np.float32)
    for i, row in enumerate(grid):
        for j, image in enumerate(row):
            canvas[i * (height + pad) :, j * (width + pad) :][:height, :width] = image
    axes = figure.add_subplot()
    if canvas.ndim == 3:
        canvas = np.where(np.isnan(canvas).any(axis=-1, keepdims=True), MAGENTA, canvas)
        axes.imshow(canvas, interpolation="nearest")
    else:
        import matplotlib

        cmap = matplotlib.colormaps["gray"].with_extremes(bad="magenta")
        axes.imshow(canvas, cmap=cmap, vmin=0, vmax=1, interpolation="nearest")
    column = (np.arange(ncols) * (width + pad) + (width - 1) / 2).tolist()
    row_centre = (np.arange(nrows) * (height + pad) + (height - 1) / 2).tolist()
    set_ticks(axes, xticks, column, yticks, row_centre)
    axes.spines[:].set_visible(False)
    return axes


def _thin(labels: Sequence[float] | None, most: int = 9) -> list[Any] | None:
    """The labels, all but evenly spaced ones blanked when there are more than fit."""
    if labels is None:
        return None
    step = -(-len(labels) // most)
    return [f"{label:.2g}" if i % step == 0 else "" for i, label in enumerate(labels)]
