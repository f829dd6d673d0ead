"""What the checkpoints of these tests hold."""

from workers.checkpoints.checkpoint import Checkpoint
from workers.checkpoints.expected import Expected, forms_of


def expected_like(checkpoint: Checkpoint) -> Expected:
    """Return an expectation of the same tensors, and of any progress."""
    model, optimizer = forms_of(checkpoint.model), forms_of(checkpoint.optimizer)
    return Expected(model, optimizer, check_progress=lambda _: None)
