"""What was found out about a model while it read: plain numbers, without torch."""

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class GradientCurve:
    """How much the loss depends on a state, by how long before the end of a row the state was."""

    of: str
    """`hidden state`, `cell state`, or `input` of a model whose states are not known."""
    layer: int
    """From 1, the one that reads the input; 0 for the input itself."""
    backwards: bool
    """Whether this direction reads from the last time step to the first."""
    norms: tuple[float, ...]
    """The mean over the rows of the norm of the gradient: first at the last step that was read,
    then one step before it, and so on."""


@dataclass(frozen=True)
class GateCurve:
    """How far a gate is open, by time step: 0 is closed, 1 is open."""

    gate: str
    layer: int
    backwards: bool
    means: tuple[float, ...]
    """Over the rows and the units, in the order in which the direction reads."""


@dataclass(frozen=True)
class Unrolled:
    """One row: what the model reads, keeps and decides at each time step."""

    number: int
    """Of the row within its split, from 0."""
    truth: str | float
    inputs: tuple[tuple[float, ...], ...] = ()
    """Of each time step: the pixels of an image in [0, 1], or the normalized features."""
    tokens: tuple[str, ...] = ()
    states: tuple[tuple[float, ...], ...] = ()
    """Of each time step: what the top layer puts out. Empty if the states are not known."""
    steps: tuple[int, ...] = ()
    """After how many time steps the decisions were asked for."""
    decisions: tuple[tuple[float, ...], ...] = ()
    """At each of them: the probabilities of the classes, or one number in its own units."""

    @property
    def settled(self) -> tuple[int, int]:
        """The class that the model decides for in the end, and the step from which on it does."""
        best = [max(range(len(each)), key=each.__getitem__) for each in self.decisions]
        since = len(best) - 1
        while since and best[since - 1] == best[-1]:
            since -= 1
        return best[-1], self.steps[since]


@dataclass(frozen=True)
class Explanation:
    """What was found out about one model."""

    num_rows: int
    """Of how many rows the curves are means."""
    score: str
    """The name of the score: `accuracy`, or `mae`."""
    steps: tuple[int, ...]
    """After how many time steps the rows were cut."""
    scores: tuple[float, ...]
    """On the rows that were cut there. Shorter rows are whole."""
    unrolled: Unrolled
    class_names: tuple[str, ...] = ()
    gradients: tuple[GradientCurve, ...] = ()
    gates: tuple[GateCurve, ...] = ()
    cell: str = "own"
    """`rnn`, `lstm` or `gru`; `own` for a model of the user's own."""
    hidden_size: int = 0
    num_layers: int = 0
    bptt_steps: int = 0
    """No gradient crosses a cut each so many steps; 0 means that nothing is cut."""
    name: str = ""
    """Of the run, and of its checkpoint."""
    dataset: str = ""

    @property
    def top(self) -> int:
        """The number of the top layer of which something is known."""
        return max((curve.layer for curve in self.gradients), default=0)


def to_json(found: Explanation) -> dict[str, Any]:
    """Return all of it as JSON. A number that is not finite is null."""
    content = _finite(asdict(found))
    assert isinstance(content, dict)
    return content


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
