"""The parts of a run that have a state: models, optimizers, schedules, averages, generators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tinygen import anomaly
from tinygen.errors import UsageError
from tinygen.tensor import Tensor


class Parts(dict[str, Any]):
    """Name -> whatever has state_dict and load_state_dict, or get_state and set_state."""

    def add(self, parts: Mapping[str, Any]) -> None:
        for name, part in parts.items():
            if not (hasattr(part, "load_state_dict") or hasattr(part, "set_state")):
                raise TypeError(
                    f"Keeper: {name} is a {type(part).__name__}; a part has state_dict and load_state_dict, or get_state "
                    "and set_state"
                )
        self.update(parts)

    def state(self) -> dict[str, Any]:
        """The states of all, what models are made again with, and whether modules train or evaluate."""
        recipes = {name: getattr(part, "recipe", None) for name, part in self.items()}
        return {
            "parts": {n: p.state_dict() if hasattr(p, "load_state_dict") else p.get_state() for n, p in self.items()},
            "recipes": {name: recipe for name, recipe in recipes.items() if recipe},
            "modes": {name: [m.training for m in _modules(part)] for name, part in self.items()},
        }

    def load(self, stored: Mapping[str, Any], file: Path | None) -> None:
        """What `state` gave.  Raises UsageError when there are other parts now, and otherwise what the parts raise.

        If several do, it is one error of the first one's kind with all that they say.
        """
        if differing := self.keys() ^ stored["parts"].keys():
            missing, unexpected = (sorted(differing & names.keys()) for names in (self, stored["parts"]))
            raise UsageError(
                f"Keeper: the stored run has other parts: missing {missing}, unexpected {unexpected}; go on with the same, "
                f"or remove {file} to start anew"
            )
        errors: dict[str, Exception] = {}
        for name, part in self.items():
            try:
                (part.load_state_dict if hasattr(part, "load_state_dict") else part.set_state)(stored["parts"][name])
                for module, mode in zip(_modules(part), stored["modes"][name], strict=True):
                    module.training = mode
            except Exception as error:
                errors[name] = error
        if errors:
            problem = next(iter(errors.values())) if len(errors) == 1 else _together(errors)
            problem.add_note(f"while {' and '.join(errors)} was loaded from {file}; remove that file to start anew")
            raise problem

    def origin(self, loss: Tensor) -> list[str]:
        """Where a loss that is not finite comes from (see `anomaly.origin`), and the buffers that are not finite either."""
        names = {id(x): name for name, x in self._named("parameter")}
        return anomaly.origin(loss, names) + [lines[0] for lines in self._not_finite("buffer")]

    def not_finite(self) -> list[str]:
        """What is said about the first parameter that has a NaN or an infinity; an empty list if none has."""
        return next(self._not_finite("parameter"), [])

    def _not_finite(self, kind: str) -> Iterator[list[str]]:
        for name, x in self._named(kind):
            if lines := anomaly.origin(value := x.detach(), {id(value): name}):
                yield lines

    def _named(self, kind: str) -> Iterator[tuple[str, Any]]:
        """("the parameter model.0.weight", the parameter) of all that are modules."""
        for part, module in self.items():
            for name, x in getattr(module, f"named_{kind}s", tuple)():
                yield f"the {kind} {part}.{name}", x


def _together(errors: Mapping[str, Exception]) -> Exception:
    kind = next((type(e) for e in errors.values() if isinstance(e, ValueError | RuntimeError)), ValueError)
    return kind("\n".join(f"{name}: {error}" for name, error in errors.items()))


def _modules(part: Any) -> list[Any]:
    return list(part.modules()) if hasattr(part, "modules") else []
