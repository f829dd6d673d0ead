"""The model card of a bundle, and the spec in it: what people read before they use a model."""

import json
from typing import Any

import yaml

from orchestrator.runs.metrics import metric_name, metrics_of, show_metric
from orchestrator.trained.trained_run import TrainedRun
from workers.data.kinds import DataShape, ImageInput, NumberTarget, TokenInput, VectorInput

_MOST_SHOWN = 20
_DECIDING = ("name", "dataset", "model", "augment", "training")
"""The sections of a spec that decide the result. The others name places and machines."""


def card_files(trained: TrainedRun, facts: dict[str, Any]) -> dict[str, bytes]:
    """Return README.md, and the part of job.yaml that decides the result."""
    spec = trained.spec.with_values({"dataset.data_dir": None, "dataset.prepared": None})
    kept = {key: value for key, value in spec.model_dump(mode="json").items() if key in _DECIDING}
    return {
        "README.md": _card(trained, facts).encode(),
        "job.yaml": yaml.safe_dump(kept, sort_keys=False).encode(),
    }


def _card(trained: TrainedRun, facts: dict[str, Any]) -> str:
    data = trained.job.data
    inputs, example = _inputs(data, facts["has_lengths"])
    code = f"model_code/, {facts['network']['class_path']}"
    own = f" It was built by code of its own ({code}), which `load` runs." if facts["own"] else ""
    return f"""# {trained.run.run_id}

A model that was trained with rnnjob. The folder has all that plain torch needs to use it.{own}

## Use

```python
import sys, torch
sys.path.insert(0, "FOLDER")  # where this file is
from model import load
model = load("FOLDER")
print(model({example}))
```

Inputs: {inputs}

Outputs: {_outputs(data)}

`load` raises ValueError if a file is not the one of which `SHA256SUMS` has the hash. To check the
folder before any code of it runs: `sha256sum --check SHA256SUMS`. That finds damage. It does not
say who made the folder, so load one only from people whom you trust.

## Data

{_rows(data)}

## Metrics

{_metrics(trained)}

## Identity

- run `{trained.run.run_id}`{_checkpoint(trained)}
- weights_sha256 `{facts["weights_sha256"]}`
- fingerprint of the data `{data.fingerprint}`
- weights in float32; trained in {facts["precision_of_training"]}
- the spec that decided the result: `job.yaml`
"""


def _inputs(data: DataShape, has_lengths: bool) -> tuple[str, str]:
    """Return what the inputs are, and an example as code."""
    source = data.input
    if isinstance(source, ImageInput):
        size = f"{source.height}, {source.width}"
        return (
            f"images (rows, {size}), one byte (uint8) for a pixel. The model normalizes them.",
            f"torch.zeros(1, {size}, dtype=torch.uint8)",
        )
    steps = source.max_length
    if isinstance(source, VectorInput):
        what = (
            f"float32 (rows, time steps, {source.num_features}), the features of "
            f"{_shown(source.columns)} as they are in the table. The model normalizes them."
            + (" NaN is a missing number." if source.missing == "zero" else "")
        )
        example = f"torch.zeros(1, {steps}, {source.num_features})"
    else:
        what = (
            "token numbers, integers (rows, time steps): 0 is padding, 1 an unknown token, and 2 + "
            "k is token k of `input.vocabulary` in `model.json`."
        )
        example = f"torch.ones(1, {steps}, dtype=torch.int64)"
    if not has_lengths:
        return what, example
    return (
        f"{what} Sequences are padded with zeros to one length; the second argument has the time "
        "steps of each, int64 (rows).",
        f"{example}, torch.tensor([{steps}])",
    )


def _outputs(data: DataShape) -> str:
    if isinstance(data.target, NumberTarget):
        return f"the number {_shown([data.target.column])} of each row, in its own units."
    return (
        f"the probabilities (rows, {data.target.num_outputs}) of the classes of "
        f"{_shown([data.target.column])}, in this order: {_shown(data.target.names)}."
    )


def _rows(data: DataShape) -> str:
    tokens = ""
    if isinstance(data.input, TokenInput):
        tokens = f" The vocabulary has {len(data.input.vocabulary):,} tokens."
    return (
        f"{_shown([data.name])}: {data.train_rows:,} training rows, {data.validation_rows:,} "
        f"validation rows, {data.test_rows:,} test rows.{tokens}"
    )


def _metrics(trained: TrainedRun) -> str:
    if trained.checkpoint is not None:
        return (
            "They are not known for this checkpoint. `rnnjob evaluate` computes them: "
            f"`rnnjob evaluate {trained.run.run_id}:{trained.checkpoint}`."
        )
    result = trained.run.read_json(trained.run.RESULT) or {}
    lines = [
        f"- {split} {metric_name(name)}: {show_metric(name, value)}"
        for split in ("test", "validation")
        for name, value in metrics_of(result, f"{split}_").items()
        if isinstance(value, int | float)
    ]
    return "\n".join(lines) or "The run has no result with metrics."


def _checkpoint(trained: TrainedRun) -> str:
    return "" if trained.checkpoint is None else f", checkpoint {trained.checkpoint}"


def _shown(names: Any) -> str:
    """Return names as JSON in code, so that no name can be a part of the page's form."""
    texts = [json.dumps(name).replace("`", "\\u0060") for name in list(names)[:_MOST_SHOWN]]
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return f"`{', '.join(texts)}`{more}"
