"""What a gradient check found, told so that the mistake can be found too."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

ORDINALS = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", 6: "sixth"}
DIGITS = {"float32": 7, "float16": 3}


class GradientError(AssertionError):
    """A derivative rule disagrees with finite differences.  `report` holds the details.

    The message begins with one line that says what is wrong, as lists of failed tests show no more, and is the report.
    """

    def __init__(self, report: GradientReport):
        super().__init__(f"{report.headline}\n{report}")
        self.report = report


GradientError.__module__ = "tinygen.testing"  # where users find it; lists of failed tests print the whole name


@dataclass(frozen=True)
class Finding:
    """One argument in which a derivative could not be confirmed.

    kind, order: what was found, and in which derivative.  argument, shape: where; "argument 1", "parameter 'weight'".
    index, analytic, numeric, uncertainty: the element that is off the most, by the rule and by differences, and how sure
        these are (in float32 and in float64, and what is allowed, where kind is "imprecise").
    wrong_elements: how many of how many elements disagree.
    suspect, line, rule: which operator's rule it is, who called it, how it is written.
    mistake, error: what it looks like; what was raised.
    """

    kind: str
    """What was found.

    "wrong": rule and differences disagree.  "kink": the function is not smooth here, so there is nothing to compare.
    "raised": the backward pass raised an error.  "imprecise": float32 loses more digits than rounding can explain.
    """
    order: int
    """Of the derivative; 0 is the value itself."""
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
    """The operator in the graph whose own rule fails, or that is not smooth."""
    line: str | None = None
    """The user's line that called it: "file.py:12  y = f(x)"."""
    rule: str | None = None
    """That rule as it is written."""
    mistake: str | None = None
    """Which known mistake the whole gradient looks like (mistakes.py)."""
    error: str | None = None
    """What was raised."""

    @property
    def relative_error(self) -> float:
        """|analytic - numeric| / max(|analytic|, |numeric|)."""
        size = max(abs(self.analytic), abs(self.numeric))
        return abs(self.analytic - self.numeric) / size if size else 0.0

    @property
    def what(self) -> str:
        """ "first derivative in argument 1"."""
        if not self.order:
            return "value"
        return f"{ORDINALS.get(self.order, f'{self.order}th')} derivative in {self.argument}"

    @property
    def headline(self) -> str:
        """What was found, in half a line."""
        if self.kind == "kink":
            return f"the {self.what} was not checked, this is a kink or a jump"
        if self.kind == "raised":
            return f"the {self.what} raised {self.error}"
        wrong, why = ("wrong", self.mistake or self.suspect)
        if self.kind == "imprecise":
            wrong, why = "imprecise in float32", self.suspect
        return f"the {self.what} is {wrong}" + (f": {why.split('.  ')[0]}" if why else "")

    def __str__(self) -> str:
        head = f"{self.what}, shape {self.shape}" if self.order else self.what
        if self.kind == "kink":
            lines = [
                f"{head}: not checked, this is a kink or a jump",
                "    a rule can only be judged where the function is smooth, and here the differences do not converge to one value,",
                '    however small the step: move the input, or pass kinks="skip"',
            ]
            if self.suspect:
                lines.append(_wrapped(f"    found in       {self.suspect}"))
            if self.line:
                lines.append(f"    called at      {self.line}")
            return "\n".join(lines)
        if self.kind == "raised":
            lines = [f"{head}: the backward pass raised an error"]
            lines.append(_wrapped(f"    error          {self.error}"))
        elif self.kind == "imprecise":
            lines = [f"{head}: float32 loses more digits than rounding can explain"]
        else:
            lines = [f"{head}: the rule and the finite differences disagree"]
        if self.index is not None:
            first, second = ("in float32", "in float64") if self.kind == "imprecise" else ("analytic", "numeric")
            allowed = "allowed, " if self.kind == "imprecise" else ""
            lines += [
                f"    at index       {self.index}",
                f"    {first:<15}{self.analytic:.10g}",
                f"    {second:<15}{self.numeric:.10g}  ({allowed}± {self.uncertainty:.1g})",
                f"    relative error {self.relative_error:.2g}",
            ]
        if self.wrong_elements is not None:
            lines.append("    extent         {} of {} elements looked at disagree".format(*self.wrong_elements))
        if self.suspect:
            lines.append(_wrapped(f"    suspect        {self.suspect}"))
        if self.line:
            lines.append(f"    called at      {self.line}")
        if self.rule:
            lines.append("    as written     " + textwrap.indent(self.rule, " " * 19).lstrip())
        if self.mistake:
            lines.append(_wrapped(f"    looks like     {self.mistake}"))
        return "\n".join(lines)


@dataclass(frozen=True)
class GradientReport:
    """The outcome of a gradient check.  True when every derivative was confirmed.

    name: what was checked.  order: up to which derivative.  dtype: the coarsest in which it computes.
    checks: how many (argument, order) pairs were compared.  findings: what could not be confirmed.
    skip_kinks: whether a kink is no failure.
    """

    name: str
    order: int
    dtype: str
    checks: int = 0
    """How many (argument, order) pairs were compared."""
    findings: list[Finding] = field(default_factory=list)
    skip_kinks: bool = False

    @property
    def ok(self) -> bool:
        """Whether every derivative was confirmed."""
        return not self.errors

    @property
    def headline(self) -> str:
        """The first thing that is wrong, in one line; or that all is well."""
        return f"{self.name}: {self.errors[0].headline if self.errors else 'all derivatives agree'}"

    @property
    def errors(self) -> list[Finding]:
        """The findings that make the report false."""
        return [f for f in self.findings if f.kind != "kink" or not self.skip_kinks]

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        head = f"{self.name}: {self.checks} derivatives up to order {self.order} against finite differences in {self.dtype}"
        if any(f.kind == "imprecise" for f in self.findings):
            head = f"{self.name}: values and gradients in float32 against those in float64, at the same numbers"
        elif self.dtype != "float64":
            head += (
                f"\nnote: {self.dtype} has about {DIGITS[self.dtype]} digits, of which differences lose half, so only coarse mistakes "
                "can be seen; the default, float64, sees them all.  (A function that computes in float32 inside can only be "
                "checked like this: look for .float(), or tensors made without dtype=x.dtype)"
            )
        verdict = ["all agree"] if self.ok else []
        return "\n".join([head, *verdict, *map(str, self.findings)])


def _wrapped(line: str) -> str:
    """Long lines continue under the text of the second column."""
    return textwrap.fill(line, 118, subsequent_indent=" " * 19, break_long_words=False, break_on_hyphens=False)
