"""A folder with all that plain torch needs to use a model, and its check."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from workers.checkpoints.weights import model_file, weights_of
from workers.config import TrainJob
from workers.data.rows import Batch
from workers.models.own.code import read_code
from workers.models.own.importing import without_package
from workers.records.run_folder import RunFolder
from workers.trained import plain_model
from workers.trained.formats.agreement import Predict
from workers.trained.formats.facts import Facts
from workers.trained.formats.traced import arguments_of
from workers.trained.load import TrainedModel
from workers.trained.plain_model import BUFFERS, CODE, FACTS, MANIFEST, WEIGHTS

MODEL = "model.py"
Files = dict[str, bytes]
"""The content of each file, by its path relative to the folder, with `/`."""


def safetensors_file(model: TrainedModel, facts: Facts) -> bytes:
    """Return the weights as safetensors, with all that is needed to rebuild the model."""
    more = {name: facts[name] for name in ("checkpoint", "dtype", "own")}
    return model_file(weights_of(model.module), model.job, more)


def bundle_files(model: TrainedModel, facts: Facts, more: Mapping[str, bytes]) -> Files:
    """Return the files of a bundle, its manifest among them. `more`: files that torch ignores."""
    files = {
        **more,
        MODEL: Path(plain_model.__file__).read_bytes(),
        FACTS: (json.dumps(facts, indent=2) + "\n").encode(),
        WEIGHTS: safetensors_file(model, facts),
        **_buffers(model.module),
        **_code(model.job),
    }
    lines = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    return {**files, MANIFEST: "".join(lines).encode()}


def _buffers(module: nn.Module) -> Files:
    """Return the constant tensors of a model of the user's own, which are no parameters."""
    found = {name: buffer.detach().clone() for name, buffer in module.named_buffers()}
    return {BUFFERS: safetensors.torch.save(found)} if found else {}


def _code(job: TrainJob) -> Files:
    if job.model.class_path is None or job.model.code_sha256 is None:
        return {}
    code = read_code(RunFolder.at(job.run_uri), job.model.code_sha256)
    return {f"{CODE}/{name}": content for name, content in code.files.items()}


@contextlib.contextmanager
def bundle_predict(folder: Path, facts: Facts) -> Iterator[Predict]:
    """Yield what computes the outputs of a bundle. The code of a model in it is run."""

    def predict(batch: Batch) -> Tensor:
        outputs: Tensor = model(*arguments_of(batch, facts))
        return outputs

    with without_package(facts["network"]["class_path"]):
        model = plain_model.load(folder)
        yield predict
