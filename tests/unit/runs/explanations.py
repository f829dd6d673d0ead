"""Made-up explanations of models."""

import math
from dataclasses import replace

from workers.trained.explain.explanation import Explanation, GateCurve, GradientCurve, Unrolled

STEPS = 12
LSTM = Explanation(
    num_rows=20,
    score="accuracy",
    steps=tuple(range(1, STEPS + 1)),
    scores=tuple(n / STEPS for n in range(1, STEPS + 1)),
    unrolled=Unrolled(
        7,
        "yes",
        inputs=tuple((math.sin(n), -1.0, 0.5) for n in range(STEPS)),
        states=tuple((math.cos(n), n / STEPS) for n in range(STEPS)),
        steps=tuple(range(1, STEPS + 1)),
        decisions=tuple((1 - n / STEPS, n / STEPS) for n in range(STEPS)),
    ),
    class_names=("no", "yes"),
    gradients=(
        GradientCurve("hidden state", 1, False, tuple(0.5**n for n in range(STEPS))),
        GradientCurve("cell state", 1, False, tuple(0.9**n for n in range(STEPS))),
    ),
    gates=tuple(
        GateCurve(gate, 1, False, (0.5,) * STEPS) for gate in ("forget", "input", "output")
    ),
    cell="lstm",
    hidden_size=2,
    num_layers=1,
    name="first",
    dataset="rows",
)
CUT = replace(
    LSTM,
    name="cut:best",
    bptt_steps=3,
    gradients=(GradientCurve("hidden state", 1, False, (0.5, 0.2, 0.1, *(0.0,) * (STEPS - 3))),),
)
TOKENS = replace(
    LSTM,
    name="t",
    unrolled=replace(LSTM.unrolled, inputs=(), tokens=tuple(f"w-{n}<b>" for n in range(STEPS))),
)
OWN = replace(
    LSTM,
    name="own",
    cell="own",
    gates=(),
    gradients=(GradientCurve("input", 0, False, tuple(0.9**n for n in range(STEPS))),),
    unrolled=replace(LSTM.unrolled, states=()),
)
NUMBERS = replace(
    LSTM,
    name="n",
    score="mae",
    class_names=(),
    unrolled=replace(
        LSTM.unrolled, truth=1234.5, decisions=tuple((1000.0 + n,) for n in range(STEPS))
    ),
)
DEEP = replace(
    LSTM,
    name="deep",
    cell="gru",
    num_layers=2,
    gradients=tuple(
        GradientCurve("hidden state", layer, backwards, (0.1,) * STEPS)
        for layer in (1, 2)
        for backwards in (False, True)
    ),
    gates=tuple(
        GateCurve(gate, layer, backwards, (0.4,) * STEPS)
        for layer in (1, 2)
        for backwards in (False, True)
        for gate in ("reset", "update")
    ),
)
ALL = (LSTM, CUT, TOKENS, OWN, NUMBERS, DEEP)
