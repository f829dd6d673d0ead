"""A model as an ONNX file, and the outputs of such a file in onnxruntime.

torch's exporter that follows a recorded call is used, not that of `torch.export`. The latter's
files of recurrent layers (torch 2.14) accept one number of time steps, or fail for any but one row.

B rows, T time steps.
"""

import io
import json
from typing import Any

import torch

from workers.data.rows import Batch
from workers.errors import InputError
from workers.trained.formats.agreement import Predict
from workers.trained.formats.facts import Facts, input_names, is_dynamic_in_time, output_name
from workers.trained.formats.traced import arguments_of, recording
from workers.trained.plain_model import Predictor

OPSET = 17
"""Old enough for runtimes of 2022, and it has all that the built-in models need."""
_BATCH, _TIME = "batch", "time"


def check_installed() -> None:
    """Raise InputError if a package of the extra `onnx` is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"--format onnx needs the packages onnx and onnxruntime: {error}",
            "install them: pip install onnx onnxruntime",
        ) from error


def onnx_file(predictor: Predictor, example: Batch, facts: Facts) -> bytes:
    """Return the model as ONNX, with metadata. Raises ModelError if it cannot be recorded."""
    file = io.BytesIO()
    arguments = arguments_of(example, facts)
    with recording("ONNX", facts):
        torch.onnx.export(
            predictor,
            arguments,
            file,  # type: ignore[arg-type]  # the exporter without dynamo writes into it
            dynamo=False,
            opset_version=OPSET,
            input_names=input_names(facts),
            output_names=[output_name(facts)],
            dynamic_axes=_dynamic_axes(facts),
        )
        return _with_metadata(file.getvalue(), facts)


def _dynamic_axes(facts: Facts) -> dict[str, dict[int, str]]:
    axes = {name: {0: _BATCH} for name in (*input_names(facts), output_name(facts))}
    if is_dynamic_in_time(facts):
        axes["inputs"][1] = _TIME
    return axes


def metadata_of(facts: Facts) -> dict[str, str]:
    """Return the metadata of a file: texts, and lists as JSON."""
    source, target = facts["input"], facts["target"]
    found: dict[str, Any] = {
        "run_id": facts["run_id"],
        "weights_sha256": facts["weights_sha256"],
        "dataset": facts["dataset"],
        "target": target["column"],
    }
    if target["kind"] == "classes":
        found["classes"] = list(target["names"])
    if source["kind"] == "vectors":
        found["features"] = list(source["columns"])
    if source["kind"] == "tokens":
        # Numbers 0 and 1 are padding and an unknown token; the vocabulary begins at 2.
        found["vocabulary"] = list(source["vocabulary"])
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in found.items()
    }


def _with_metadata(content: bytes, facts: Facts) -> bytes:
    import onnx

    model = onnx.load_model_from_string(content)
    onnx.helper.set_model_props(model, metadata_of(facts))
    onnx.checker.check_model(model)
    written: bytes = model.SerializeToString()
    return written


def onnx_predict(content: bytes, facts: Facts, num_threads: int) -> Predict:
    """Return what computes the outputs of an ONNX file with onnxruntime. Raises ModelError."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 4  # what fails is raised, too
    with recording("ONNX", facts):  # what was recorded need not be a valid graph
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = input_names(facts)

    def predict(batch: Batch) -> torch.Tensor:
        arguments = [tensor.numpy() for tensor in arguments_of(batch, facts)]
        outputs = session.run(None, dict(zip(names, arguments, strict=True)))
        return torch.from_numpy(outputs[0])

    return predict
