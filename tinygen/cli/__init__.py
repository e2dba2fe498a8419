"""The command line: `tinygen`.  (`python -m tinygen` is the same.)  Neither looks for modules in the current folder, unless
that has a tinygen of its own: `python -P -m tinygen` ignores that, too.

    tinygen                                   what there is: models, examples, commands
    tinygen train vae --data digits           train a model; its folder is runs/vae
    tinygen sample runs/vae                   pictures of what it draws
    tinygen interpolate runs/vae              from one image to another through its codes
    tinygen evaluate runs/vae                 its numbers on test images, beside baseline and floor
    tinygen compare runs/vae runs/iwae        curves on one plot, and a table
    tinygen demo                              seven models in a minute
    tinygen examples [NAME ...]               list the examples, or run one

`kinds` is the table of models, `train` the loop for all of them, `runs` reads a run's folder back, `show` draws and `judge`
measures.  The examples train one model each, with their loop in sight; their folders can be read just as well.
"""

from tinygen.cli.main import main

__all__ = ["main"]
