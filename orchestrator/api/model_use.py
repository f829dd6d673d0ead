"""The part of a run in the API that uses its model: load, evaluate, predict, export."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestrator.api import trained
from orchestrator.api.given import shipping_from
from orchestrator.client import Client
from orchestrator.trained.on_ray import OnRay, on_cluster, on_ray_here
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

if TYPE_CHECKING:
    from torch import nn


class ModelUse:
    """What can be done with the model of a run, wherever it was trained."""

    def __init__(self, client: Client, folder: RunFolder) -> None:
        self._client, self._folder = client, folder

    def model(
        self, checkpoint: str | int | None = None, *, trust_code: bool = False
    ) -> "nn.Module":
        """Return the trained model as a plain module of torch, on the CPU, ready for evaluation.

        A built-in model takes normalised sequences (batch, time, features) of float32, or tokens
        (batch, time), and, if the sequences differ in length, their lengths.

        Args:
            checkpoint: "best", or the number of a step. By default, the final model.
            trust_code: run the code of the run's own model although you did not submit it.

        Raises JobError if there is no such model, or if its code is a stranger's.
        """
        return trained.model(trained.opened(self._folder, checkpoint, trust_code))

    def evaluate(
        self,
        dataset: str | None = None,
        split: str | None = None,
        *,
        checkpoint: str | int | None = None,
        data_dir: str | Path | None = None,
        workers: int | None = None,
        address: str | None = None,
        working_dir: str | Path | None = None,
        include: Iterable[str] = (),
        env: Mapping[str, str] | None = None,
        secrets: Iterable[str] = (),
        trust_code: bool = False,
    ) -> dict[str, Any]:
        """Compute the model's metrics on any rows that fit it, in this process or on Ray.

        The numbers are the same, bit for bit, in each case.

        Args:
            dataset: the name of a set of images, or `parquet:URI`. By default, that of the run.
            split: train, validation or test; of tables also all. By default test, or all rows of
                tables that `dataset` names.
            checkpoint: see `model`.
            data_dir: the folder with the idx files of images. By default, RNNJOB_DATA_DIR.
            workers: compute with so many processes on Ray, on this machine or, at the most, on a
                cluster.
            address: the cluster to compute on: the URL of its dashboard or its name.
            working_dir: see `submit`, as for `include`, `env` and `secrets`.
            trust_code: see `model`.

        Raises JobError, for example if the rows do not fit the model.
        """
        place = self._place(workers, address, [], working_dir, include, env, secrets)
        model = trained.opened(self._folder, checkpoint, trust_code)
        return trained.evaluate(model, dataset, split, data_dir, place)

    def predict(
        self,
        *inputs: str | Path,
        checkpoint: str | int | None = None,
        invert: bool | None = None,
        trust_code: bool = False,
    ) -> pa.Table:
        """Predict the class or the number of each row of files, in their order, in this process.

        The table has the columns that `rnnjob predict` writes. It is in memory: for more rows than
        fit there, use `predict_batches` or `predict_to`.

        Args:
            inputs: files, folders or patterns. A model of images reads PNG, JPEG, idx and Parquet,
                one of sequences Parquet and CSV.
            checkpoint: see `model`.
            invert: whether bright becomes dark in images. By default, where the border says so.
            trust_code: see `model`.

        What was assumed of the files is a warning of Python. Raises JobError.
        """
        model = trained.opened(self._folder, checkpoint, trust_code)
        return trained.predict(model, inputs, invert)

    def predict_batches(
        self,
        *inputs: str | Path,
        checkpoint: str | int | None = None,
        invert: bool | None = None,
        trust_code: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """Yield what `predict` returns, some rows at a time, as they are computed.

        Only some batches are in memory, whatever the size of the files. The arguments are those of
        `predict`. The files are looked at by the first step of the iteration. Raises JobError.
        """
        model = trained.opened(self._folder, checkpoint, trust_code)
        return trained.predict_batches(model, inputs, invert)

    def predict_to(
        self,
        output: str | Path,
        *inputs: str | Path,
        force: bool = False,
        checkpoint: str | int | None = None,
        invert: bool | None = None,
        workers: int | None = None,
        address: str | None = None,
        working_dir: str | Path | None = None,
        include: Iterable[str] = (),
        env: Mapping[str, str] | None = None,
        secrets: Iterable[str] = (),
        trust_code: bool = False,
    ) -> int:
        """Write the predictions for files to a file, which appears whole; return their number.

        The file is that of `rnnjob predict -o`, in this process and on Ray, where it is computed in
        parts: what was interrupted goes on when the same is called again.

        Args:
            output: a path or URI that ends in `.parquet` or `.jsonl`.
            inputs: see `predict`.
            force: replace the output if it exists, and parts of other work.
            checkpoint: see `model`.
            invert: see `predict`.
            workers: see `evaluate`, as for the arguments that follow.
            trust_code: see `model`.

        Raises JobError.
        """
        model = trained.opened(self._folder, checkpoint, trust_code)
        target = trained.output_at(output, force)
        place = self._place(workers, address, [target.folder], working_dir, include, env, secrets)
        return trained.predict_to(model, target, inputs, invert, place, force)

    def export(
        self,
        format: str,
        path: str | Path | None = None,
        *,
        force: bool = False,
        checkpoint: str | int | None = None,
        data_dir: str | Path | None = None,
        trust_code: bool = False,
    ) -> dict[str, Any]:
        """Write the model in the format of another program, and say how it was checked.

        It is compared with the run's model before it appears, on the test rows if they are on this
        machine, else on made-up ones. What is returned is what `rnnjob export --json` prints: path,
        bytes, weights_sha256, check.

        Args:
            format: `safetensors`, `onnx`, `torchscript`, or `bundle`, a folder for plain torch.
            path: the file or folder. By default, one in the working directory, by the run's name.
            force: replace it if it exists.
            checkpoint: see `model`.
            data_dir: see `evaluate`.
            trust_code: see `model`.

        Raises JobError; then nothing is written.
        """
        model = trained.opened(self._folder, checkpoint, trust_code)
        return trained.export(model, format, path, force, data_dir)

    def _place(
        self,
        workers: int | None,
        address: str | None,
        storages: list[Storage],
        working_dir: str | Path | None,
        include: Iterable[str],
        env: Mapping[str, str] | None,
        secrets: Iterable[str],
    ) -> OnRay | None:
        """Return where to compute; None for this process. The cluster must reach the storages."""
        shipping = shipping_from(working_dir, include, env, secrets, address)
        if address is None:
            return None if workers is None else on_ray_here(workers)
        connection = self._client.connection(address)
        return on_cluster(connection, [self._folder.storage, *storages], workers, shipping)
