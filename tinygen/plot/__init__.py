"""Pictures: grids of images, curves with their floor and baselines, densities in the plane, matrices, computational graphs.

Every function but the last three takes NumPy arrays or Tensors, returns the matplotlib figure, and writes it when a path is given (its
folder is made; the ending decides the format).  Figures are made without pyplot: there is no window, no global list of
open figures, nothing to close, and it works without a display.  matplotlib is imported when the first one is made.
`animation` writes a GIF and returns its path.

title, xlabel, ylabel are texts; cell: inches per image.

`graph` and `graph_page` draw what a tensor was computed from, as SVG and as a page to step through the backward pass; they
need no matplotlib.
"""

from tinygen.plot.animation import animation
from tinygen.plot.charts import curves, matrix, panels2d, scatter2d
from tinygen.plot.graph_html import graph_page
from tinygen.plot.graph_svg import graph
from tinygen.plot.images import image_grid, latent_walk, manifold, rows

__all__ = [
    "image_grid",
    "rows",
    "latent_walk",
    "manifold",
    "curves",
    "scatter2d",
    "panels2d",
    "matrix",
    "animation",
    "graph",
    "graph_page",
]
