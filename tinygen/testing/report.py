"""What a gradient check found, told so that the mistake can be found too."""

from __future__ import annotations

from dataclasses import dataclass, field

ORDINALS = {1: "first", 2: "second", 3: "third", 4: "fourth"}


class GradientError(AssertionError):
    """A derivative rule disagrees with finite differences.  `report` holds the details."""

    def __init__(self, report: GradientReport):
        super().__init__(str(report))
        self.report = report


@dataclass(frozen=True)
class Finding:
    """One argument in which a derivative could not be confirmed."""

    kind: str
    """"wrong": rule and differences disagree. "kink": the function is not smooth here, so there is nothing to compare."""
    order: int
    argument: str
    shape: tuple[int, ...]
    index: tuple[int, ...] | None = None
    """The element of the argument that is off the most; None when the elements were not looked at."""
    analytic: float = float("nan")
    numeric: float = float("nan")
    uncertainty: float = 0.0
    """Estimated error of `numeric`."""
    wrong_elements: tuple[int, int] | None = None
    """(how many elements disagree, how many were looked at)."""
    suspect: str | None = None
    """The operator in the graph whose own rule fails, and the line that called it."""

    @property
    def relative_error(self) -> float:
        """|analytic - numeric| / max(|analytic|, |numeric|)."""
        size = max(abs(self.analytic), abs(self.numeric))
        return abs(self.analytic - self.numeric) / size if size else 0.0

    def __str__(self) -> str:
        order = ORDINALS.get(self.order, f"{self.order}th")
        where = f"{self.argument}, shape {self.shape}"
        if self.kind == "kink":
            lines = [
                f"{order} derivative in {where}: not checked at a kink or a jump",
                "    the differences do not converge to one value, however small the step; a rule can only be judged where the "
                'function is smooth: move the input, or pass kinks="skip"',
            ]
        else:
            lines = [f"{order} derivative in {where}: the rule and the finite differences disagree"]
            if self.index is not None:
                lines += [
                    f"    at index   {self.index}",
                    f"    analytic   {self.analytic:.10g}",
                    f"    numeric    {self.numeric:.10g}  (± {self.uncertainty:.1g})",
                    f"    relative error {self.relative_error:.2g}",
                ]
            if self.wrong_elements is not None:
                lines.append("    {} of {} elements looked at disagree".format(*self.wrong_elements))
        if self.suspect:
            lines.append(f"    suspect: {self.suspect}")
        return "\n".join(lines)


@dataclass(frozen=True)
class GradientReport:
    """The outcome of a gradient check.  True when every derivative was confirmed."""

    name: str
    order: int
    dtype: str
    checks: int = 0
    """How many (argument, order) pairs were compared."""
    findings: list[Finding] = field(default_factory=list)
    skip_kinks: bool = False

    @property
    def ok(self) -> bool:
        return not self.errors

    @property
    def errors(self) -> list[Finding]:
        return [f for f in self.findings if f.kind != "kink" or not self.skip_kinks]

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        head = f"{self.name}: {self.checks} derivatives up to order {self.order} against finite differences in {self.dtype}"
        if self.dtype != "float64":
            head += f" (in {self.dtype} only coarse mistakes can be seen: prefer the default, float64)"
        verdict = ["all agree"] if self.ok else []
        return "\n".join([head, *verdict, *map(str, self.findings)])
