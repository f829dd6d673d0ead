"""Measure a row: choose each contender's best try, then let them take turns."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.bench.commands import CommandError, Runner
from benchmarks.bench.contenders import Contender
from benchmarks.bench.results import Measured, Result
from benchmarks.bench.rounds import best_try, finite, in_turns
from benchmarks.bench.rows import Row

PROBES = 3
"""How often each batch size is tried, before the best one takes part in the rounds."""


@dataclass
class Bench:
    """Measures rows."""

    runner: Runner
    num_rounds: int
    commit: str
    usual_only: bool = False
    """Whether each contender runs at its usual batch size instead of its best."""
    _best: dict[Contender, int] = field(default_factory=dict)
    _repeated: dict[Contender, str] = field(default_factory=dict)
    """The peers of which a command failed once, and how."""

    def row(self, row: Row) -> Result:
        """Measure a row. Raises CommandError, and ValueError if a contender has no figure."""
        absent = {each: reason for each in row.contenders if (reason := each.missing())}
        reasons = list(dict.fromkeys(absent.values()))
        if not all(each.optional for each in absent):
            return self.failed(*reasons)
        present = [each for each in row.contenders if each not in absent]
        values: dict[str, list[float]] = {each.name: [] for each in present}
        best = {each: self.best(each) for each in present}
        figures, loads = [], []
        for number in range(self.num_rounds):
            before = os.getloadavg()[0]
            for each in in_turns(present, number):
                values[each.name].append(finite(each.name, self.figure(each, best[each])))
            loads.append([before, os.getloadavg()[0]])
            figures.append(row.figure(*(values[each.name][-1] for each in present)))
        notes = [f"{each.name} was not measured: {reason}" for each, reason in absent.items()]
        notes += [
            f"a command of {each.name} failed and was repeated: {self._repeated[each]}"
            for each in present
            if each in self._repeated
        ]
        measured = self._measured(present, best, values)
        return Result(_today(), self.commit, figures, loads, measured, notes)

    def failed(self, *reasons: str) -> Result:
        """Return the result of a row that has no figure."""
        return Result(_today(), self.commit, [], [], [], list(reasons))

    def best(self, contender: Contender) -> int:
        """Return the best try of a contender. It is looked for once."""
        if contender not in self._best:
            self._best[contender] = best_try(
                (contender.usual,) if self.usual_only else contender.tries,
                lambda value: self.figure(contender, value),
                PROBES,
                contender.higher_is_better,
            )
        return self._best[contender]

    def figure(self, contender: Contender, value: int) -> float:
        """Run a contender once. Raises CommandError.

        A command of a peer may fail once, as torchrun did in one of many runs of CI: its row says
        so, with the cause. One of rnnjob may not.
        """
        try:
            done = self.runner.run(contender.command, value)
        except CommandError as error:
            if not contender.is_peer or contender in self._repeated:
                raise
            self._repeated[contender] = str(error)
            done = self.runner.run(contender.command, value)
        return contender.figure(done)

    def _measured(
        self,
        contenders: Sequence[Contender],
        best: dict[Contender, int],
        values: dict[str, list[float]],
    ) -> list[Measured]:
        return [
            Measured(
                f"{each.name}, {each.trying} {best[each]}" if len(each.tries) > 1 else each.name,
                self.runner.text(each.command, best[each]),
                each.unit,
                values[each.name],
            )
            for each in contenders
        ]


def _today() -> str:
    return time.strftime("%Y-%m-%d")
