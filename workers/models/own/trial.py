"""The trial of a user's own model: refuse before training what could not be trained exactly.

It calls the model on made-up rows, on a CPU with one thread, as steps do. What it finds: an error
in the model's code, an output of the wrong form, and whatever makes a result depend on more than
the job. B rows, T time steps, K outputs.
"""

import torch
from torch import Tensor, nn

from workers.config import ModelConfig, TrainingConfig
from workers.data.kinds import DataShape
from workers.errors import ModelError, ModelFailedError
from workers.models.noise import Noise
from workers.models.own import causes
from workers.models.own.build import Factory
from workers.models.own.code import ModelCode
from workers.models.own.importing import imported, seeded
from workers.models.own.installed import factory
from workers.models.own.samples import Sample, Samples
from workers.models.own.step import forward, takes_lengths
from workers.models.own.watch import Watch
from workers.seeds import Purpose, seed_of

_ROUNDING = 1e-4
"""The largest difference, relative to the largest output, that rounding explains."""
_MORE_PADDING = 7


def try_model(
    code: ModelCode, config: ModelConfig, data: DataShape, training: TrainingConfig
) -> list[str]:
    """Build a model and try it. Return what is accepted, but should be known.

    Raises ModelError if the model cannot be trained.
    """
    seed = seed_of(training.seed, Purpose.INIT)
    assert config.class_path is not None
    with imported(code, config.class_path, seed) as function, seeded(seed):
        torch.set_num_threads(1)
        made = factory(function, config, data, training.seed)
        trial = _Trial(made, data, config.read, is_fused=training.gradients == "fused")
        try:
            trial.run()
        except ModelFailedError as error:
            raise ModelError(error.cause, error.cure) from error
        return trial.warnings


class _Trial:
    def __init__(self, made: Factory, data: DataShape, read: str, is_fused: bool) -> None:
        self._model = _built(made)
        self._samples = Samples(data, read)
        self._num_outputs = data.target.num_outputs
        self._is_fused = is_fused
        self._is_seeded = False
        """Whether each call begins with the process-wide generator in the same state."""
        self._accepted: list[str] = []
        self._others: list[str] = []

    @property
    def warnings(self) -> list[str]:
        """What is accepted, but should be known."""
        if not self._accepted:
            return self._others
        loss = (
            "accepted, because training.gradients is 'fused'; but another number of workers, and "
            "each resume, gives another result"
        )
        return [*self._others, f"{'; '.join(self._accepted)}: {loss}"]

    def run(self) -> None:
        """Try everything. Raises ModelError or ModelFailedError."""
        samples, model = self._samples, self._model
        if not samples.are_equally_long and not takes_lengths(model):
            raise causes.no_lengths(samples.min_steps, samples.max_steps)
        sample = samples.usual()
        self._try_state(sample)
        if self._try_gradient(sample):
            are_independent = all(
                self._try_neighbours(sample, samples.usual(), mode) for mode in (True, False)
            )
            if not samples.are_equally_long:
                self._try_padding(sample)
            if are_independent:
                self._outputs(sample.row(0))
        if not samples.are_equally_long:
            self._outputs(samples.shortest())
            self._outputs(samples.longest())

    def _outputs(self, sample: Sample, is_training: bool = True) -> Tensor:
        """Return the outputs (B, K) of one call. The random numbers are the same in each."""
        self._model.train(is_training)
        if self._is_seeded:
            torch.default_generator.manual_seed(0)
        noise = Noise([(torch.Generator().manual_seed(0), len(sample))]) if is_training else None
        outputs = forward(self._model, sample.x, sample.lengths_B, noise)
        if (wrong := causes.wrong_output(outputs, (len(sample), self._num_outputs))) is not None:
            raise wrong
        return outputs

    def _try_state(self, sample: Sample) -> None:
        """Refuse a call that changes something, or that uses a process-wide generator."""
        watch = Watch(self._model, sample)
        self._outputs(sample)
        if name := watch.changed_buffer():
            raise causes.changed_buffer(self._model, name)
        if name := watch.changed_parameter():
            raise causes.changed_parameter(name)
        if watch.changed_input():
            raise causes.changed_input()
        if owner := watch.used_generator():
            self._accept_if_fused(causes.used_generator(self._model, owner))
            self._is_seeded = True

    def _try_gradient(self, sample: Sample) -> bool:
        """Refuse a model whose outputs or gradients differ in two passes over the same rows.

        Return whether they are the same.
        """
        first, second = (self._gradient(self._outputs(sample)) for _ in range(2))
        if unused := [name for name, gradient in first.items() if gradient is None]:
            self._others.append(causes.no_gradient(unused))
        if all(_is_equal(first[name], second[name]) for name in first):
            return True
        self._accept_if_fused(causes.passes_differ())
        return False

    def _gradient(self, outputs_BK: Tensor) -> dict[str, Tensor | None]:
        if not outputs_BK.requires_grad:
            raise causes.is_detached()
        trained = {n: p for n, p in self._model.named_parameters() if p.requires_grad}
        weights_BK = torch.linspace(0.5, 1.5, outputs_BK.numel()).view_as(outputs_BK)
        gradients = torch.autograd.grad(
            (outputs_BK * weights_BK).sum(), list(trained.values()), allow_unused=True
        )
        by_name = dict(zip(trained, gradients, strict=True))
        for name, gradient in by_name.items():
            if gradient is not None and gradient.is_sparse:
                raise causes.sparse_gradient(name)
        return {"outputs": outputs_BK.detach(), **by_name}

    def _try_neighbours(self, sample: Sample, others: Sample, is_training: bool) -> bool:
        """Refuse a model in which a row's output depends on the rows beside it.

        Return whether there is no such row.
        """
        with torch.no_grad():
            outputs = self._outputs(sample, is_training)
            for row in (0, len(sample) - 1):
                # The shapes are equal, so not even the rounding may differ.
                elsewhere = self._outputs(sample.with_neighbours(row, others), is_training)
                if not torch.equal(outputs[row], elsewhere[row]):
                    self._accept_if_fused(causes.depends_on_neighbours(self._model))
                    return False
        return True

    def _try_padding(self, sample: Sample) -> None:
        """Refuse a model whose output depends on how much padding follows a row."""
        with torch.no_grad():
            short = self._outputs(sample, is_training=False)
            long = self._outputs(sample.padded(_MORE_PADDING), is_training=False)
        difference = float((short - long).abs().max())
        if not difference <= _ROUNDING * max(float(short.abs().max()), 1e-6):
            raise causes.depends_on_padding(difference)

    def _accept_if_fused(self, error: ModelError) -> None:
        """Raise an error about the order of sums, unless the job does without equal bits."""
        if not self._is_fused:
            raise error
        if error.cause not in self._accepted:
            self._accepted.append(error.cause)


def _built(made: Factory) -> nn.Module:
    """Build the model, and make its weights such that each can be seen in the output.

    Raises ModelError if another attempt gives other weights.
    """
    model, again = made.build(), made.build()
    weights, others = dict(model.named_parameters()), dict(again.named_parameters())
    are_same = weights.keys() == others.keys() and all(
        torch.equal(weight, others[name]) for name, weight in weights.items()
    )
    if not are_same:
        raise causes.weights_differ()
    # A last layer of zeros would hide all that is before it.
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in weights.values():
            if not parameter.any():
                parameter.normal_(std=0.1, generator=generator)
    return model


def _is_equal(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.equal(a, b)
