"""Memory for time: values that the backward pass needs are not kept, but computed once more when it comes to them.

    checkpoint(fn, *args)               runs fn again, from its inputs
    checkpoint_invertible(layers, x)    goes back through the layers from the output: no layer's input is kept

Both record one operator in the place of many (operator.py).  Its inputs are what the call depended on: arguments, and what the
functions found outside (parameters).  Its rules make the call again with a graph, and differentiate that (runs.py); so they can be
differentiated in their turn.
"""

from tinygen.recompute.invertible import checkpoint_invertible
from tinygen.recompute.segment import checkpoint

__all__ = ["checkpoint", "checkpoint_invertible"]
