"""How tensors are printed."""

from __future__ import annotations

from typing import Any

import numpy as np

_DEFAULT = {"precision": 4, "threshold": 200, "edgeitems": 3, "linewidth": 75, "sci_mode": None}
_PROFILES = {
    "default": _DEFAULT,
    "short": {**_DEFAULT, "precision": 2, "edgeitems": 2},
    "full": {**_DEFAULT, "threshold": 2**62},
}
_options: dict[str, Any] = dict(_DEFAULT)


def set_printoptions(
    precision: int | None = None,
    threshold: int | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """How tensors are printed from now on; what is None stays as it is (torch.set_printoptions).

    precision: digits after the point (4).  threshold: tensors with more elements are shortened (200; PyTorch has 1000), to
    `edgeitems` at each end of a dimension (3).  linewidth: characters in a line (75; PyTorch has 80).
    profile: "default", "short" or "full", which sets all of these first.  sci_mode: always or never with an exponent.
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"set_printoptions: profile must be one of {', '.join(_PROFILES)}, got {profile!r}")
        _options.update(_PROFILES[profile])
    given = dict(precision=precision, threshold=threshold, edgeitems=edgeitems, linewidth=linewidth, sci_mode=sci_mode)
    _options.update({name: value for name, value in given.items() if value is not None})


def text_of(values: np.ndarray, prefix: str) -> str:
    """The values as they stand between the brackets of tensor(...)."""
    options = {name: value for name, value in _options.items() if name not in ("sci_mode", "linewidth")}
    if _options["linewidth"] is not None:
        options["max_line_width"] = _options["linewidth"]
    sci_mode, digits = _options["sci_mode"], _options["precision"]
    if sci_mode is not None and values.dtype.kind == "f":
        style = "e" if sci_mode else "f"
        options["formatter"] = {"float_kind": lambda x: f"{x:.{digits}{style}}"}
    return np.array2string(values, separator=", ", prefix=prefix, **options)
