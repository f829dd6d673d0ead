"""Write the model of a run in the format of another program, and check it on rows of its data."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.runs.hardware import num_usable_cpus
from orchestrator.trained.model_card import card_files
from orchestrator.trained.new_output import check_output, new_folder, write_output
from orchestrator.trained.rows import RowsToEvaluate
from orchestrator.trained.rows_at_hand import test_rows_at_hand
from orchestrator.trained.trained_run import TrainedRun

if TYPE_CHECKING:
    from workers.data.rows import Batch
    from workers.trained.formats.agreement import Comparison, Predict
    from workers.trained.formats.facts import Facts
    from workers.trained.load import TrainedModel

FORMATS = ("safetensors", "onnx", "torchscript", "bundle")
_ENDINGS = {
    "safetensors": ".safetensors", "onnx": ".onnx", "torchscript": ".pt", "bundle": "-bundle"
}  # fmt: skip
_PIECE_ROWS = 128
_MADE_UP_ROWS = 256


@dataclass(frozen=True)
class Export:
    """What was written, and how it was checked."""

    format: str
    path: Path
    num_bytes: int
    facts: "Facts"
    rows: str
    """Which rows it was checked on."""
    comparison: "Comparison"

    def to_json(self) -> dict[str, Any]:
        exact, rounded = self.comparison.in_float32, self.comparison.in_own_precision
        of_bf16 = rounded and {
            "max_difference_to_bf16": rounded.difference,
            "other_classes_than_bf16": rounded.other_classes,
        }
        return {
            "schema_version": 1,
            "run_id": self.facts["run_id"],
            "checkpoint": self.facts["checkpoint"],
            "weights_sha256": self.facts["weights_sha256"],
            "format": self.format,
            "path": str(self.path),
            "bytes": self.num_bytes,
            "check": {
                "rows": exact.num_rows,
                "rows_of": self.rows,
                "max_difference": exact.difference,
                "other_classes": exact.other_classes,
                **(of_bf16 or {}),
            },
        }


def export_run(
    trained: TrainedRun,
    format_name: str,
    output: Path | None = None,
    force: bool = False,
    data_dir: Path | None = None,
) -> Export:
    """Write the model of a run. Nothing is written if what would be is not the run's model.

    Args:
        format_name: one of FORMATS.
        output: the file or folder; by default one in the working directory, by the run's name.
        force: whether it may be replaced.
        data_dir: the folder with the idx files of a data set of images.

    Raises JobError.
    """
    from workers.models.own.installed import code_of
    from workers.trained.formats.facts import facts_of
    from workers.trained.load import load_trained

    if format_name == "onnx":
        from workers.trained.formats.onnx_file import check_installed

        check_installed()
    path = (output or _default(trained, format_name)).expanduser().absolute()
    check_output(path, force, _is_bundle if format_name == "bundle" else None)
    with code_of(trained.job):
        model = load_trained(trained.job, trained.checkpoint)
        writer = _Writer(trained, model, facts_of(model, trained.checkpoint), path)
        rows = test_rows_at_hand(trained, data_dir)
        return writer.write(format_name, rows)


def _default(trained: TrainedRun, format_name: str) -> Path:
    checkpoint = "" if trained.checkpoint is None else f"-{trained.checkpoint}"
    return Path(f"{trained.run.run_id}{checkpoint}{_ENDINGS[format_name]}")


def _is_bundle(folder: Path) -> bool:
    from workers.trained.plain_model import FACTS, MANIFEST

    return (folder / FACTS).is_file() and (folder / MANIFEST).is_file()


@dataclass(frozen=True)
class _Writer:
    trained: TrainedRun
    model: "TrainedModel"
    facts: "Facts"
    path: Path

    def write(self, format_name: str, rows: RowsToEvaluate | str) -> Export:
        write = self._bundle if format_name == "bundle" else self._file
        num_bytes, comparison = write(format_name, rows)
        if isinstance(rows, str):
            said = f"made-up rows, since {rows}"
        else:
            said = f"{rows.split} rows of {rows.dataset}"
        return Export(format_name, self.path, num_bytes, self.facts, said, comparison)

    def _file(self, format_name: str, rows: RowsToEvaluate | str) -> tuple[int, "Comparison"]:
        content, predict = self._made(format_name)
        comparison = self._checked(format_name, predict, rows)
        write_output(self.path, content)
        return len(content), comparison

    def _bundle(self, format_name: str, rows: RowsToEvaluate | str) -> tuple[int, "Comparison"]:
        from workers.trained.formats.bundle import bundle_files, bundle_predict
        from workers.trained.formats.traced import recording

        files = bundle_files(self.model, self.facts, card_files(self.trained, self.facts))
        with (
            new_folder(self.path, files) as folder,
            recording(format_name, self.facts),
            bundle_predict(folder, self.facts) as predict,
        ):
            comparison = self._checked(format_name, predict, rows)
        return sum(map(len, files.values())), comparison

    def _made(self, format_name: str) -> "tuple[bytes, Predict]":
        """Return a file, and what computes its outputs."""
        from workers.trained.formats import bundle, onnx_file, torchscript_file
        from workers.trained.formats.facts import predictor_of
        from workers.trained.formats.made_up_rows import MadeUpRows
        from workers.trained.formats.traced import arguments_of

        facts = self.facts
        predictor = predictor_of(self.model, facts)
        if format_name == "safetensors":
            content = bundle.safetensors_file(self.model, facts)
            return content, lambda batch: predictor(*arguments_of(batch, facts))
        example = MadeUpRows(self.model.job.data, facts).example()
        if format_name == "onnx":
            content = onnx_file.onnx_file(predictor, example, facts)
            return content, onnx_file.onnx_predict(content, facts, num_usable_cpus())
        content = torchscript_file.torchscript_file(predictor, example, facts)
        return content, torchscript_file.torchscript_predict(content, facts)

    def _checked(
        self, format_name: str, predict: "Predict", rows: RowsToEvaluate | str
    ) -> "Comparison":
        """Compare what was written with the run's model. Raises JobError if they differ."""
        from workers.trained.formats.agreement import compare
        from workers.trained.formats.made_up_rows import MadeUpRows
        from workers.trained.formats.traced import failed, recording

        made_up = MadeUpRows(self.model.job.data, self.facts).batches(_MADE_UP_ROWS)
        traced = format_name in ("onnx", "torchscript")
        why = "what was recorded fails for rows of another number or length" if traced else ""
        with recording(format_name, self.facts, why):
            comparison = compare(predict, made_up, self.model)
            if comparison.in_float32.is_close and not isinstance(rows, str):
                comparison = compare(predict, _batches(rows), self.model)
        exact = comparison.in_float32
        if not exact.is_close:
            raise failed(
                format_name,
                self.facts,
                f"its outputs differ by up to {exact.difference:.1g}, and {exact.other_classes} of "
                f"{exact.num_rows} rows get another class",
            )
        return comparison


def _batches(rows: RowsToEvaluate) -> "Iterator[Batch]":
    for shard in range(rows.shape.num_shards):
        part = rows.load_shard(shard)[rows.split]
        for piece in part.pieces(_PIECE_ROWS):
            yield piece.batch()
