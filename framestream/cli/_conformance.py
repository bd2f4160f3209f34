"""The conformance kit on the command line: what to try a framer on, and how the outcome reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from framestream.testing import ConformanceError, conformance_checks

if TYPE_CHECKING:
    from framestream.framer import ReadCondition


@dataclass
class Outcome:
    """What the kit found.

    Attributes:
        framer: the framer, as it was asked for.
        kept: promises kept, by the name of the check.
        untried: checks that could not be tried, with the reason.
        broken: checks that failed, with the message.
    """

    framer: str
    kept: dict[str, str] = field(default_factory=dict)
    untried: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return the report: a line for each check, then the verdict."""
        width = max(map(len, (*self.kept, *self.untried, *self.broken)))
        lines = [f"  ok      {name:<{width}}  {promise}" for name, promise in self.kept.items()]
        lines += [f"  -       {name:<{width}}  not tried: {why}" for name, why in self.untried.items()]
        for name, message in self.broken.items():
            first, *rest = message.splitlines()
            lines += [f"  BROKEN  {name:<{width}}  {first}", *(f"          {line}" for line in rest)]
        return [self.framer, *lines, self.verdict]

    @property
    def verdict(self) -> str:
        """How many promises are kept, untried and broken."""
        counts = f"{len(self.kept)} promises kept, {len(self.untried)} not tried, {len(self.broken)} broken"
        return f"{self.framer}: {counts}"


def examine(title: str, framer: ReadCondition[Any], material: Mapping[str, Any]) -> Outcome:
    """Run every check of the kit, also behind one that fails.

    A framer that raises does so in nearly every check: the first tells all, the others refer to it.
    """
    outcome = Outcome(title)
    raised: dict[str, str] = {}
    for check in conformance_checks(framer, **material):
        try:
            reason = check.run()
        except ConformanceError as error:
            first = raised.setdefault(error.defect, check.name) if error.__cause__ else check.name
            told = first == check.name
            outcome.broken[check.name] = str(error) if told else f"{error.framer}: the same as in {first}"
            continue
        if reason is None:
            outcome.kept[check.name] = check.promise
        else:
            outcome.untried[check.name] = reason
    return outcome
