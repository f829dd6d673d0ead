"""The one training loop, for one worker of any job.

What every worker computes is the same: the sums over all shards, and from them the same weights.
Worker 0 also keeps the record: metrics, checkpoints, the model.
"""

import contextlib
import copy
import logging
import math
import socket
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from workers.checkpoint import Best, Checkpoint, Checkpoints, EpochSums, Progress
from workers.config import TrainJob
from workers.errors import DivergedError, ReplicaError
from workers.evaluate import Evaluation, evaluate
from workers.gradients import Gradients, ShardThreads, Step, Wish
from workers.held_rows import HeldRows
from workers.metrics_log import MetricsLog, RecordSink
from workers.model import build_model
from workers.optimizer import build_optimizer, clip_, lr_factor
from workers.run_folder import RunFolder, StopRequest
from workers.saving import Saver
from workers.shards import steps_per_epoch
from workers.weights import (
    Weights,
    load_optimizer,
    load_weights,
    model_file,
    optimizer_tensors,
    weights_of,
    weights_sha256,
)
from workers.worker import Worker

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What came of the training, the same on every worker."""

    steps: int
    epochs: list[dict[str, Any]]
    stopped: StopRequest | None = None
    best_epoch: int | None = None
    weights_sha256: str | None = None
    test: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def train(job: TrainJob, worker: Worker, sink: RecordSink | None = None) -> TrainResult:
    """Trains from the newest checkpoint of the run folder, or from the start.

    Args:
        job: the resolved job; all workers are given the same.
        worker: this process.
        sink: is shown each record of the metrics on worker 0, as it is written.

    Raises:
        JobError: the job cannot go on; its last checkpoint stays.
    """
    _be_deterministic(worker.device)
    # A fused backward pass uses the worker's CPUs as intra-op threads instead.
    threads = ShardThreads(1 if job.training.gradients == "fused" else job.cpus_per_worker)
    with contextlib.closing(threads):
        loop = _Loop(job, worker, threads)
        loop.restore()
        with contextlib.ExitStack() as stack:
            if worker.rank == 0:
                loop.keep_record(stack, sink)
            return loop.run_to_end()


def _be_deterministic(device: torch.device) -> None:
    if device.type == "cuda":
        # Needs CUBLAS_WORKSPACE_CONFIG=:4096:8 in the environment: see ray_worker.
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        # fp32 is to mean fp32: cuDNN's default is TF32.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


class _Loop:
    """One worker's state of one job."""

    def __init__(self, job: TrainJob, worker: Worker, threads: ShardThreads) -> None:
        self.job, self.worker, self.threads = job, worker, threads
        self.run = RunFolder.at(job.run_uri).patient()
        self.progress = Progress()
        self.best: Weights = {}
        self.log: MetricsLog | None = None
        self.saver: Saver | None = None
        self.stop: StopRequest | None = None
        self.model = build_model(
            job.model, job.data, job.training.seed, job.training.bptt_steps
        ).to(worker.device)
        trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.names = list(trained)
        self.optimizer = build_optimizer(job.training.optimizer, trained.values())
        self.gradients = Gradients(self.model, job, worker, threads)
        self.rows = HeldRows(job, worker)
        self.steps_per_epoch = steps_per_epoch(
            job.data.train_rows, job.data.num_shards, job.rows_per_shard_step
        )
        self.num_steps = job.training.steps or job.training.epochs * self.steps_per_epoch

    def keep_record(self, stack: contextlib.ExitStack, sink: RecordSink | None) -> None:
        """Worker 0's: metrics and checkpoints, closed in the right order with the stack."""
        self.saver = Saver(self.run, self.job.checkpoint, self._checkpoint)
        later = self.saver.later
        self.log = stack.enter_context(MetricsLog(self.run, self.progress.step, sink, later))
        self.saver.before = self.log.flush  # the steps before a checkpoint are in the metrics
        stack.enter_context(self.saver)

    def restore(self) -> None:
        """Takes up the checkpoint that worker 0 finds; all workers the same one."""
        job, is_first = self.job, self.worker.rank == 0
        checkpoints = Checkpoints(self.run, job.checkpoint)
        found = checkpoints.latest(job.checkpoint_fingerprint) if is_first else None
        step = int(self._from_first(found.progress.step if found else 0))
        if not step:
            return
        checkpoint = found or checkpoints.load(step, job.checkpoint_fingerprint(step))
        self.progress, self.best = checkpoint.progress, checkpoint.best
        load_weights(self.model, checkpoint.model)
        load_optimizer(self.optimizer, self.names, checkpoint.optimizer)
        log.info("going on from the checkpoint of step %d", step)

    def run_to_end(self) -> TrainResult:
        log.info(
            "worker %d of %d on %s, %s: shards %s",
            self.worker.rank,
            self.worker.world_size,
            socket.gethostname(),
            self.worker.device,
            ", ".join(str(shard) for shard in self.worker.shards),
        )
        if self.log:
            cost = asdict(self.log.repeats)
            self._record("start", attempt=self.log.attempt, workers=self.worker.world_size, **cost)
        # A job stopped after its last step still has that epoch to end.
        while self.progress.step < self.num_steps or self.progress.step_in_epoch:
            self._run_epoch()
            if self.stop:
                if self.saver:
                    self.saver.save(wait=True)
                return TrainResult(self.progress.step, self.progress.epochs, stopped=self.stop)
            self._end_epoch()
        return self._finish()

    def _run_epoch(self) -> None:
        """Steps until the epoch or the job ends, or a stop is asked for."""
        progress, job = self.progress, self.job
        rows = self.rows.epoch(progress.epoch, progress.step_in_epoch)
        while progress.step_in_epoch < self.steps_per_epoch and progress.step < self.num_steps:
            if progress.step >= (job.stop_after_steps or math.inf):
                # All workers are at the same step: none has to tell the others.
                self.stop = StopRequest(
                    f"{job.stop_after_steps} steps were asked for: limits.steps"
                )
                return
            started = time.perf_counter()
            batches = rows.step(progress.step_in_epoch)
            data_s = time.perf_counter() - started
            stop, wish = self._ask()
            step = self.gradients.step(progress.epoch, progress.step_in_epoch, batches, wish)
            self._apply(step)
            self._add(step, data_s, time.perf_counter() - started)
            if step.wish.look and (notice := self.worker.notice()) and self.saver:
                self.saver.heed(notice, progress.step)
            if step.wish.stop:
                # Only worker 0 knows why; its result is the one that counts.
                self.stop = stop or StopRequest("asked for by worker 0")
                return
            if self.saver:
                inside = 0 < progress.step_in_epoch < self.steps_per_epoch
                self.saver.save_if_due(progress.step, inside)
        self.account = rows.account.close(
            self.worker,
            num_counted=progress.sums.num_rows,
            num_rows=job.data.train_rows,
            whole=progress.step_in_epoch == self.steps_per_epoch,
        )

    def _ask(self) -> tuple[StopRequest | None, Wish]:
        """What worker 0 is asked for, and so what it wants of all."""
        if self.worker.rank:
            return None, Wish()
        stop = self.worker.stop_requested()
        return stop, Wish(stop is not None, self.worker.notice_due())

    def _apply(self, step: Step) -> None:
        """Clips, schedules, steps: on every worker the same, with one intra-op thread."""
        training = self.job.training
        self.gradient_norm = clip_(step.gradient_N, training.gradient_clip)
        if not math.isfinite(self.gradient_norm + step.loss_sum):
            raise self._diverged(
                f"at step {self.progress.step + 1}: loss {step.loss_sum / step.num_rows}, "
                f"gradient norm {self.gradient_norm}"
            )
        factor = lr_factor(training.schedule, self.progress.step, self._horizon())
        self.lr = training.optimizer.lr * factor
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        self.gradients.assign(step.gradient_N)
        self.optimizer.step()

    def _horizon(self) -> int:
        """The number of steps that the schedule is laid out over at this step."""
        ends = (*self.job.training.earlier_ends, self.num_steps)
        return next((end for end in ends if self.progress.step < end), self.num_steps)

    def _add(self, step: Step, data_s: float, wall_s: float) -> None:
        progress, sums = self.progress, self.progress.sums
        progress.step += 1
        progress.step_in_epoch += 1
        sums.loss_sum += step.loss_sum
        sums.num_correct += step.num_correct
        sums.num_rows += step.num_rows
        sums.data_s += data_s
        sums.exchange_s += step.exchange_s
        sums.compute_s += wall_s - data_s - step.exchange_s
        sums.wall_s += wall_s
        self._record(
            "step",
            epoch=progress.epoch + 1,
            loss=step.loss_sum / step.num_rows,
            accuracy=step.num_correct / step.num_rows,
            rows=step.num_rows,
            lr=self.lr,
            gradient_norm=self.gradient_norm,
        )

    def _end_epoch(self) -> None:
        """Validates, keeps the best weights, writes the epoch's record and a checkpoint."""
        progress, sums = self.progress, self.progress.sums
        record: dict[str, Any] = {
            "epoch": progress.epoch + 1,
            "train_loss": sums.loss_sum / sums.num_rows,
            "train_accuracy": sums.num_correct / sums.num_rows,
            "samples_per_s": sums.num_rows / sums.wall_s,
            **self._mean_seconds(),
            "train_s": sums.wall_s,
            "workers": self.worker.world_size,
            **self.account,
        }
        weights = weights_of(self.model)
        self._check_replicas(weights)
        if self.job.data.validation_rows:
            record |= self._validate(weights)
        progress.epoch += 1
        progress.step_in_epoch = 0
        progress.sums = EpochSums()
        progress.epochs.append({"step": progress.step, **record})
        self._record("epoch", **record)
        log.info("epoch %d: loss %.4f", record["epoch"], record["train_loss"])
        if self.saver:
            self.saver.save()

    def _mean_seconds(self) -> dict[str, float]:
        """Waiting for data, computing, exchanging gradients: mean over the workers. Loading the
        shards counts as waiting, in the epoch that came after it."""
        sums = self.progress.sums
        seconds = [sums.data_s + self.rows.load_s, sums.compute_s, sums.exchange_s]
        self.rows.load_s = 0.0
        mine = torch.tensor(seconds, dtype=torch.float64, device=self.worker.device)
        mean = (self.worker.all_reduce(mine) / self.worker.world_size).tolist()
        return dict(zip(("data_s", "compute_s", "exchange_s"), mean, strict=True))

    def _validate(self, weights: Weights) -> dict[str, float]:
        started = time.perf_counter()
        found = self._evaluate("validation")
        here = Best(self.progress.epoch + 1, found.accuracy, found.loss)
        if here.beats(self.progress.best, self.job.training.metric):
            self.progress.best, self.best = here, weights
        return {
            "validation_loss": found.loss,
            "validation_accuracy": found.accuracy,
            "validation_s": time.perf_counter() - started,
        }

    def _finish(self) -> TrainResult:
        """Chooses the final weights, stores and tests them."""
        best = self.progress.best
        keep_best = self.job.training.keep == "best" and best is not None
        if keep_best:
            load_weights(self.model, self.best)
        weights = weights_of(self.model)
        if self.worker.rank == 0:
            self.run.storage.write(self.run.MODEL, model_file(weights, self.job))
        head_rows = self.job.data.test_head_rows
        found = self._evaluate("test", head_rows)
        self._record("test", loss=found.loss, accuracy=found.accuracy)
        test: dict[str, Any] = {
            "rows": found.num_rows,
            "loss": found.loss,
            "accuracy": found.accuracy,
            "per_class": found.per_class(),
            "confusion_matrix": found.confusion_CC,
        }
        if head_rows:
            test |= {"head_rows": head_rows, "head_accuracy": found.head_accuracy}
        return TrainResult(
            steps=self.progress.step,
            epochs=self.progress.epochs,
            best_epoch=best.epoch if keep_best and best else None,
            weights_sha256=weights_sha256(weights),
            test=test,
        )

    def _evaluate(self, split: str, head_rows: int = 0) -> Evaluation:
        found = evaluate(
            self.model, self.job, self.worker, self.threads, self.rows.shards, split, head_rows
        )
        if not math.isfinite(found.loss):
            raise self._diverged(f"by step {self.progress.step}: {split} loss {found.loss}")
        return found

    def _diverged(self, how: str) -> DivergedError:
        return DivergedError(
            f"training diverged {how}",
            f"lower the learning rate (--lr, now {self.job.training.optimizer.lr:g}) or clip the "
            "gradient: --set training.gradient_clip=1",
        )

    def _checkpoint(self) -> Checkpoint:
        """Of this moment; nothing in it is changed by later steps."""
        return Checkpoint(
            fingerprint=self.job.checkpoint_fingerprint(self.progress.step),
            progress=copy.deepcopy(self.progress),
            model=weights_of(self.model),
            optimizer=optimizer_tensors(self.optimizer, self.names),
            best=self.best,  # another epoch replaces these, none changes them
        )

    def _check_replicas(self, weights: Weights) -> None:
        """All workers must hold the same weights; else the result would hang on who holds them."""
        words = np.frombuffer(bytes.fromhex(weights_sha256(weights))[:24], np.uint32)
        rows = np.tile(words.astype(np.float64), (len(self.worker.shards), 1))
        seen = self.worker.gather(torch.from_numpy(rows).to(self.worker.device))
        if not bool((seen == seen[0]).all()):
            raise ReplicaError(
                f"the workers' weights differ after epoch {self.progress.epoch + 1}",
                "run all workers on machines with the same CPU or GPU and the same packages",
            )

    def _from_first(self, value: float) -> float:
        """Worker 0's value, on every worker."""
        rows = torch.full((len(self.worker.shards), 1), float(value), dtype=torch.float64)
        return float(self.worker.gather(rows.to(self.worker.device))[0, 0])

    def _record(self, kind: str, **values: Any) -> None:
        if self.log:
            self.log.write(
                {"kind": kind, "step": self.progress.step, **values, "time": time.time()}
            )
