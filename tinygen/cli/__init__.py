"""The command line: `python -m tinygen`.

    python -m tinygen                                   what there is: models, examples, commands
    python -m tinygen train vae --data digits           train a model; its folder is runs/vae
    python -m tinygen sample runs/vae                   pictures of what it draws
    python -m tinygen interpolate runs/vae              from one image to another through its codes
    python -m tinygen evaluate runs/vae                 its numbers on test images, beside baseline and floor
    python -m tinygen compare runs/vae runs/iwae        curves on one plot, and a table

`kinds` is the table of models, `train` the loop for all of them, `runs` reads a run's folder back, `show` draws and `judge`
measures.  The examples train one model each, with their loop in sight; their folders can be read just as well.
"""

from tinygen.cli.main import main

__all__ = ["main"]
