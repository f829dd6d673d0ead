"""The training loop, which every worker of every job runs.

All workers compute the same sums over all shards, and from them the same weights. Worker 0 also
writes the metrics, the checkpoints and the model.
"""

import contextlib
import copy
import logging
import math
import socket
import time
from dataclasses import asdict
from typing import Any

import torch

from workers.arithmetic import (
    Arithmetic,
    check_earlier_arithmetic,
    check_same_arithmetic,
    check_same_weights,
    device_name,
    those_of_worker_0,
)
from workers.checkpoints.checkpoint import Checkpoint, Checkpoints
from workers.checkpoints.expected import Expected
from workers.checkpoints.progress import Best, EpochSums, Progress
from workers.checkpoints.saver import Saver
from workers.checkpoints.weights import (
    Weights,
    load_weights,
    model_file,
    weights_of,
    weights_sha256,
)
from workers.config import TrainJob
from workers.errors import DivergedError
from workers.evaluate import Evaluation, evaluate
from workers.gpu.settings import enable_determinism
from workers.gradients import ControlFlags, Gradients, Step
from workers.models.build import model_of
from workers.models.cpu_kernels import bf16_kernels
from workers.models.own.installed import code_of
from workers.optimizer import Optimizer, clip_, lr_factor
from workers.pieces import rules_of
from workers.records.activity import CHECKPOINT, EVALUATE, RECORD, Activity
from workers.records.failures import mark_step
from workers.records.metrics_log import MetricsLog, RecordSink
from workers.records.owners import Fence
from workers.records.resize import ResizeAnswers
from workers.records.run_folder import RunFolder, StopRequest
from workers.records.train_result import TrainResult
from workers.shard_threads import ShardThreads
from workers.shards.job_rows import rows_of_job
from workers.shards.order import steps_per_epoch
from workers.worker import Worker

log = logging.getLogger(__name__)


def train(
    job: TrainJob,
    worker: Worker,
    sink: RecordSink | None = None,
    activity: Activity | None = None,
) -> TrainResult:
    """Train from the newest checkpoint of the run folder, or from the start.

    Args:
        job: the resolved job. All workers get the same one.
        worker: the worker that this process is.
        sink: called on worker 0 with each metrics record, as it is written.
        activity: is told what this worker does.

    Raises:
        JobError: the job cannot go on. Its last checkpoint stays.
    """
    if worker.device.type == "cuda":
        enable_determinism()
    # A fused backward pass uses the worker's CPUs as intra-op threads instead.
    threads = ShardThreads(1 if job.training.gradients == "fused" else job.cpus_per_worker)
    kernels = bf16_kernels(job.training.precision, worker.device)
    with contextlib.closing(threads), kernels, code_of(job):
        loop = _Loop(job, worker, threads, activity or Activity())
        loop.restore()
        with contextlib.ExitStack() as stack:
            if worker.rank == 0:
                loop.open_records(stack, sink)
            try:
                return loop.run_to_end()
            except Exception as error:
                mark_step(error, loop.progress.step)
                raise
            finally:
                loop.release()


class _Loop:
    """The state of one job on one worker."""

    def __init__(
        self, job: TrainJob, worker: Worker, threads: ShardThreads, activity: Activity
    ) -> None:
        self.job, self.worker, self.threads, self.activity = job, worker, threads, activity
        self.run = RunFolder.at(job.run_uri).with_retries()
        self.fence = Fence.of(job)
        self.progress = Progress()
        self.best: Weights = {}
        self.log: MetricsLog | None = None
        self.saver: Saver | None = None
        self.stop: StopRequest | None = None
        self.model = model_of(job).to(worker.device)
        trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.names = list(trained)
        self.optimizer = Optimizer(job.training.optimizer, trained.values())
        self.rules = rules_of(job)
        self.gradients = Gradients(self.model, job, worker, threads)
        self.rows = rows_of_job(
            job, worker.shards, worker.load_shard, worker.open_shard, worker.device
        )
        self.steps_per_epoch = steps_per_epoch(
            job.data.train_rows, job.data.num_shards, job.rows_per_shard_step
        )
        self.num_steps = job.training.steps or job.training.epochs * self.steps_per_epoch

    def open_records(self, stack: contextlib.ExitStack, sink: RecordSink | None) -> None:
        """On worker 0: open metrics and checkpoints. `stack` closes them in the right order."""
        self.fence.check()
        resizes = ResizeAnswers(self.run) if self.job.is_elastic else None
        self.saver = Saver(self.run, self.job.checkpoint, self._checkpoint, resizes)
        later, check = self.saver.write_if_idle, self.fence.check
        self.log = stack.enter_context(MetricsLog(self.run, self.progress.step, sink, later, check))
        self.saver.before_each_write = self._before_checkpoint
        stack.enter_context(self.saver)

    def _before_checkpoint(self) -> None:
        """The metrics must reach the storage before the checkpoint, which only an owner writes."""
        self.fence.check()
        assert self.log
        self.log.flush()

    def restore(self) -> None:
        """Load the newest checkpoint that worker 0 finds. All workers load the same one."""
        job, is_worker_0 = self.job, self.worker.rank == 0
        checkpoints = Checkpoints(self.run, job.checkpoint)
        expected = Expected.of(
            job,
            self.model,
            self.steps_per_epoch,
            self.num_steps,
        )
        newest = checkpoints.latest(job.checkpoint_fingerprint, expected) if is_worker_0 else None
        step = int(self._broadcast(newest.progress.step if newest else 0))
        if not step:
            return
        fingerprint = job.checkpoint_fingerprint(step)
        checkpoint = newest or checkpoints.load(step, fingerprint, expected)
        self.progress, self.best = checkpoint.progress, checkpoint.best
        load_weights(self.model, checkpoint.model)
        self.optimizer.load(self.names, checkpoint.optimizer)
        log.info("going on from the checkpoint of step %d", step)

    def release(self) -> None:
        """Give up the memory of the device. The loop itself stays until Python finds that its
        callbacks, of the records and the checkpoints, refer to it in a circle."""
        self.rows.close()
        del self.model, self.optimizer, self.gradients, self.rows

    def run_to_end(self) -> TrainResult:
        """Train until the job ends or is asked to stop."""
        log.info(
            "worker %d of %d on %s, %s, %d CPU(s): shards %s",
            self.worker.rank,
            self.worker.world_size,
            socket.gethostname(),
            self.worker.device,
            self.job.cpus_per_worker,
            ", ".join(str(shard) for shard in self.worker.shards),
        )
        arithmetic = check_same_arithmetic(self.job, self.worker)
        others: list[str] = []
        if self.log:
            others = sorted(set(self.log.devices_of_other_steps(arithmetic.sha256)))
        check_earlier_arithmetic(self.job, self.worker, others)
        if self.log:
            self._record_start(self.log, arithmetic, others)
        # A job that was stopped after its last step must still end that epoch.
        while self.progress.step < self.num_steps or self.progress.step_in_epoch:
            self._run_epoch()
            if self.stop:
                self._save(wait=True)
                return TrainResult(self.progress.step, self.progress.epochs, stopped=self.stop)
            self._end_epoch()
        return self._finish()

    def _record_start(self, metrics: MetricsLog, arithmetic: Arithmetic, others: list[str]) -> None:
        """Record that the workers have started, and on what. `others`: see record_kinds."""
        self._record(
            "start",
            attempt=metrics.attempt,
            workers=self.worker.world_size,
            cpus_per_worker=self.job.cpus_per_worker,
            **asdict(metrics.restart_cost),
            node=socket.gethostname(),
            device=device_name(self.worker.device),
            arithmetic_sha256=arithmetic.sha256,
            **({"mixed_hardware": arithmetic.differing} if arithmetic.differing else {}),
            **({"other_devices": " and ".join(others)} if others else {}),
        )

    def _run_epoch(self) -> None:
        """Take steps until the epoch or the job ends, or until someone asks for a stop."""
        progress, job = self.progress, self.job
        rows = self.rows.epoch(progress.epoch, progress.step_in_epoch)
        while progress.step_in_epoch < self.steps_per_epoch and progress.step < self.num_steps:
            if progress.step >= (job.stop_after_steps or math.inf):
                # All workers are at the same step, so each stops without a message from another.
                self.stop = StopRequest(
                    f"{job.stop_after_steps} steps were asked for: limits.steps"
                )
                return
            started = time.perf_counter()
            batches = rows.step(progress.step_in_epoch)
            data_s = time.perf_counter() - started
            stop, flags = self._control_flags()
            step = self.gradients.step(progress.epoch, progress.step_in_epoch, batches, flags)
            self._apply(step)
            self._count_step(step, data_s, time.perf_counter() - started)
            if step.flags.check_notice and (notice := self.worker.notice()) and self.saver:
                self.saver.handle_notice(notice, progress.step)
            if step.flags.stop:
                # Only worker 0 knows the reason, and only the result of worker 0 is used.
                self.stop = stop or StopRequest("worker 0 asked for a stop")
                return
            if self.saver:
                in_mid_epoch = 0 < progress.step_in_epoch < self.steps_per_epoch
                with self.activity.now(CHECKPOINT):
                    self.saver.save_if_due(progress.step, in_mid_epoch)
        counts_LK = torch.tensor(
            rows.account.counts(), dtype=torch.float64, device=self.worker.device
        )
        self.account = rows.account.close(
            self.worker.gather(counts_LK).sum(dim=0).tolist(),
            num_counted=progress.sums.num_rows,
            num_rows=job.data.train_rows,
            whole=progress.step_in_epoch == self.steps_per_epoch,
        )

    def _control_flags(self) -> tuple[StopRequest | None, ControlFlags]:
        """Return the stop request that worker 0 received, and its flags for all workers."""
        if self.worker.rank:
            return None, ControlFlags()
        stop = self.worker.stop_requested()
        return stop, ControlFlags(stop is not None, self.worker.notice_due())

    def _apply(self, step: Step) -> None:
        """Clip the gradient, set the learning rate and update the weights.

        Every worker does this alike, with one intra-op thread.
        """
        training = self.job.training
        norm = clip_(step.gradient_N, training.gradient_clip)
        factor = lr_factor(training.schedule, self.progress.step, self._schedule_length())
        self.lr = training.optimizer.lr * factor
        self.gradients.assign(step.gradient_N)
        self.optimizer.step(self.lr)
        # Nothing has waited for a GPU until here. Weights that diverged never reach the storage.
        self.gradient_norm = float(norm)
        if not math.isfinite(self.gradient_norm + step.loss_sum):
            raise self._diverged(
                f"at step {self.progress.step + 1}: loss {step.loss_sum / step.num_rows}, "
                f"gradient norm {self.gradient_norm}"
            )

    def _schedule_length(self) -> int:
        """Return the number of steps over which the schedule is laid out at this step."""
        ends = (*self.job.training.earlier_ends, self.num_steps)
        return next((end for end in ends if self.progress.step < end), self.num_steps)

    def _count_step(self, step: Step, data_s: float, wall_s: float) -> None:
        """Add the step to the sums of the epoch, and record it in the metrics."""
        progress, sums = self.progress, self.progress.sums
        progress.step += 1
        progress.step_in_epoch += 1
        self.activity.count_step(progress.step)
        sums.loss_sum += step.loss_sum
        sums.score_sum += step.score_sum
        sums.num_rows += step.num_rows
        compute_s = wall_s - data_s - step.exchange_s
        sums.data_s += data_s
        sums.exchange_s += step.exchange_s
        sums.compute_s += compute_s
        sums.wall_s += wall_s
        seconds = {"data_s": data_s, "compute_s": compute_s, "exchange_s": step.exchange_s}
        self._record(
            "step",
            epoch=progress.epoch + 1,
            loss=step.loss_sum / step.num_rows,
            rows=step.num_rows,
            lr=self.lr,
            gradient_norm=self.gradient_norm,
            **{self.rules.score: step.score_sum / step.num_rows},
            seconds={name: round(value, 6) for name, value in seconds.items()},
        )

    def _end_epoch(self) -> None:
        """Validate, keep the best weights, record the epoch and save a checkpoint."""
        progress, sums = self.progress, self.progress.sums
        record: dict[str, Any] = {
            "epoch": progress.epoch + 1,
            "train_loss": sums.loss_sum / sums.num_rows,
            f"train_{self.rules.score}": sums.score_sum / sums.num_rows,
            "samples_per_s": sums.num_rows / sums.wall_s,
            **self._mean_seconds(),
            "train_s": sums.wall_s,
            "workers": self.worker.world_size,
            **self.account,
        }
        weights = self._same_weights()
        if self.job.data.validation_rows:
            record |= self._validate(weights)
        progress.epoch += 1
        progress.step_in_epoch = 0
        progress.sums = EpochSums()
        progress.epochs.append({"step": progress.step, **record})
        self._record("epoch", **record)
        log.info("epoch %d: loss %.4f", record["epoch"], record["train_loss"])
        self._save()

    def _save(self, wait: bool = False) -> None:
        if self.saver:
            with self.activity.now(CHECKPOINT):
                self.saver.save(wait=wait)

    def _same_weights(self) -> Weights:
        """Return the weights after an epoch. On mixed hardware, workers may have come to others:
        then all go on with the weights, and the state of the optimizer, of worker 0."""
        weights = weights_of(self.model)
        epoch = self.progress.epoch + 1
        if check_same_weights(self.job, self.worker, weights_sha256(weights), epoch):
            return weights
        weights = those_of_worker_0(self.worker, weights)
        load_weights(self.model, weights)
        state = those_of_worker_0(self.worker, self.optimizer.tensors(self.names))
        self.optimizer.load(self.names, state)
        return weights

    def _mean_seconds(self) -> dict[str, float]:
        """Return the mean seconds per worker of waiting for data, computing, and exchanging.

        The time to load the shards counts as waiting for data, in the epoch after it.
        """
        sums = self.progress.sums
        own = [sums.data_s + self.rows.load_s, sums.compute_s, sums.exchange_s]
        self.rows.load_s = 0.0
        seconds = torch.tensor(own, dtype=torch.float64, device=self.worker.device)
        mean = (self.worker.all_reduce(seconds) / self.worker.world_size).tolist()
        return dict(zip(("data_s", "compute_s", "exchange_s"), mean, strict=True))

    def _validate(self, weights: Weights) -> dict[str, float]:
        """Evaluate the validation split, and keep the weights if this epoch is the best so far."""
        started = time.perf_counter()
        evaluation = self._evaluate("validation")
        score = self.rules.best_is * evaluation.metrics.values[self.rules.score]
        epoch = Best(self.progress.epoch + 1, score, evaluation.loss)
        if epoch.beats(self.progress.best, self.job.training.metric):
            self.progress.best, self.best = epoch, weights
        return {
            **evaluation.named("validation_"),
            "validation_s": time.perf_counter() - started,
        }

    def _finish(self) -> TrainResult:
        """Choose the final weights, store them and test them."""
        best = self.progress.best
        keep_best = self.job.training.keep != "last" and best is not None
        if keep_best:
            load_weights(self.model, self.best)
        weights = weights_of(self.model)
        if self.worker.rank == 0:
            self.fence.check()
            self.run.storage.write(self.run.MODEL, model_file(weights, self.job))
        head_rows = self.job.data.test_head_rows
        evaluation = self._evaluate("test", head_rows)
        self._record("test", **evaluation.named(""))
        test: dict[str, Any] = {
            "rows": evaluation.num_rows,
            **evaluation.named(""),
            **evaluation.metrics.details,
        }
        if head_rows:
            test |= {"head_rows": head_rows, f"head_{self.rules.score}": evaluation.head_score}
        return TrainResult(
            steps=self.progress.step,
            epochs=self.progress.epochs,
            best_epoch=best.epoch if keep_best and best else None,
            weights_sha256=weights_sha256(weights),
            test=test,
        )

    def _evaluate(self, split: str, head_rows: int = 0) -> Evaluation:
        self.gradients.compute_copy.refresh()
        model = self.gradients.compute_copy.module
        with self.activity.now(EVALUATE):
            evaluation = evaluate(
                model, self.job, self.worker, self.threads, self.rows.parts, split, head_rows
            )
        if not math.isfinite(evaluation.loss):
            raise self._diverged(f"by step {self.progress.step}: {split} loss {evaluation.loss}")
        return evaluation

    def _diverged(self, when: str) -> DivergedError:
        return DivergedError(
            f"training diverged {when}",
            f"lower the learning rate (--lr, now {self.job.training.optimizer.lr:g}) or clip the "
            "gradient: --set training.gradient_clip=1",
        )

    def _checkpoint(self) -> Checkpoint:
        """Return a checkpoint of this moment. Later steps change nothing in it."""
        return Checkpoint(
            fingerprint=self.job.checkpoint_fingerprint(self.progress.step),
            progress=copy.deepcopy(self.progress),
            model=weights_of(self.model),
            optimizer=self.optimizer.tensors(self.names),
            best=self.best,  # a later epoch may replace this dict, but does not change it
        )

    def _broadcast(self, value: float) -> float:
        """Return the value that worker 0 passes, on every worker."""
        rows = torch.full((len(self.worker.shards), 1), float(value), dtype=torch.float64)
        return float(self.worker.gather(rows.to(self.worker.device))[0, 0])

    def _record(self, kind: str, **values: Any) -> None:
        if self.log:
            record = {"kind": kind, "step": self.progress.step, **values, "time": time.time()}
            with self.activity.now(RECORD):
                self.log.write(record)
