"""What a training came to, without the modules that train: the driver reads it, too."""

from dataclasses import asdict, dataclass, field
from typing import Any

from workers.records.run_folder import StopRequest


@dataclass(frozen=True)
class TrainResult:
    """The outcome of the training. It is the same on every worker, up to the reason of a stop."""

    steps: int
    epochs: list[dict[str, Any]]
    stopped: StopRequest | None = None
    best_epoch: int | None = None
    weights_sha256: str | None = None
    test: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
