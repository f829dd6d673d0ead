"""A run at an MLflow server: it is found by its tags or created, and written to.

MLflow's own client is used for what it knows of TLS, credentials and stores of artifacts.
"""

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orchestrator.tracking.mlflow_errors import explained, missing, takes_no_files

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

RUN, SUBMITTED = "rnnjob.run", "rnnjob.submitted_at"
"""The tags by which a run is found again."""
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow's own limits let a server that is silent hold a client for many minutes.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # It would start git, and looks at the folder that this process happens to be in.
    "GIT_PYTHON_REFRESH": "quiet",
}
_MAX_PARAMETERS = 100
_RUNNING = "RUNNING"


@dataclass(frozen=True)
class Point:
    """A metric's value at a step."""

    name: str
    value: float
    time: float
    step: int


@dataclass
class Clock:
    """Since when the tracker owes an answer, for whoever will not wait for ever."""

    waits_since: float | None = None


@dataclass
class MlflowRun:
    """A run that exists at a server, with what the server said of it. Raises TrackerError."""

    uri: str
    id: str
    experiment_id: str
    artifact_uri: str
    """Where the server wants files to be put. `mlflow-artifacts:` is the server itself."""
    state: str
    parameters: dict[str, str]
    tags: dict[str, str]
    _client: "MlflowClient" = field(repr=False)
    _clock: Clock = field(repr=False)

    @classmethod
    def open(
        cls,
        uri: str,
        experiment: str,
        run_id: str,
        submitted_at: float,
        clock: Clock,
    ) -> "MlflowRun":
        """Find the run, or create it. Raises TrackerError."""
        client = _client(uri)
        mine = {RUN: run_id, SUBMITTED: repr(submitted_at)}
        with _asking(uri, clock):
            experiment_id = _experiment(client, experiment)
            found = _find(client, experiment_id, mine)
            if found is None:
                about = {**mine, "mlflow.source.name": "rnnjob"}
                started = int(submitted_at * 1000)
                made = client.create_run(experiment_id, started, tags=about, run_name=run_id)
                found = _find(client, experiment_id, mine) or made
                if found.info.run_id != made.info.run_id:  # another process did the same
                    client.delete_run(made.info.run_id)
        data, info = found.data, found.info
        params, tags = dict(data.params), dict(data.tags)
        return cls(
            uri,
            info.run_id,
            experiment_id,
            info.artifact_uri,
            info.status,
            params,
            tags,
            client,
            clock,
        )

    @property
    def page(self) -> str:
        """The URL of the run's page."""
        return f"{self.uri}/#/experiments/{self.experiment_id}/runs/{self.id}"

    def log_parameters(self, parameters: Mapping[str, str]) -> None:
        """Send parameters that the run does not have. MLflow never changes one that it has."""
        from mlflow.entities import Param

        new = [Param(key, value) for key, value in parameters.items() if key not in self.parameters]
        for first in range(0, len(new), _MAX_PARAMETERS):
            with _asking(self.uri, self._clock):
                self._client.log_batch(self.id, params=new[first : first + _MAX_PARAMETERS])
        self.parameters |= {param.key: param.value for param in new}

    def log_metrics(self, points: list[Point], tags: Mapping[str, str]) -> None:
        """Send points, and in the same request the tags that say so."""
        from mlflow.entities import Metric, RunTag

        metrics = [Metric(p.name, p.value, int(p.time * 1000), p.step) for p in points]
        with _asking(self.uri, self._clock):
            written = [RunTag(key, value) for key, value in tags.items()]
            self._client.log_batch(self.id, metrics=metrics, tags=written)
        self.tags |= tags

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Make the run's tags these, where they differ. An empty text removes a tag."""
        for key, value in tags.items():
            if value == self.tags.get(key, ""):
                continue
            with _asking(self.uri, self._clock):
                if value:
                    self._client.set_tag(self.id, key, value)
                else:
                    self._client.delete_tag(self.id, key)
            self.tags[key] = value

    def set_state(self, state: str, ended_at: float | None) -> None:
        """`state`: one of MLflow's."""
        if state == self.state:
            return
        with _asking(self.uri, self._clock):
            if state == _RUNNING:
                self._client.update_run(self.id, state)
            else:
                at = int((ended_at or time.time()) * 1000)
                self._client.set_terminated(self.id, state, at)
        self.state = state

    def upload(self, path: Path) -> None:
        """Send a file, or a folder under its name."""
        if urlsplit(self.artifact_uri).scheme in ("", "file"):  # MLflow would write it here
            raise takes_no_files(self.uri, self.artifact_uri)
        with _asking(self.uri, self._clock):
            if path.is_dir():
                self._client.log_artifacts(self.id, str(path), path.name)
            else:
                self._client.log_artifact(self.id, str(path))


def _client(uri: str) -> "MlflowClient":
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise missing(error) from error
    for name in ("mlflow", "urllib3"):  # what they would print of retries is told once, by us
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return MlflowClient(tracking_uri=uri)


@contextlib.contextmanager
def _asking(uri: str, clock: Clock) -> Iterator[None]:
    """Within this context, a request waits for its answer. Raises TrackerError."""
    import requests
    from mlflow.exceptions import MlflowException

    clock.waits_since = time.monotonic()
    try:
        yield
    except (MlflowException, requests.RequestException, OSError) as error:
        raise explained(uri, error) from error
    finally:
        clock.waits_since = None


def _experiment(client: "MlflowClient", name: str) -> str:
    """Return the id of an experiment. It is created if there is none."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:  # another run has created it since
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _find(client: "MlflowClient", experiment_id: str, tags: Mapping[str, str]) -> Any:
    """Return the first run with these tags; None if there is none."""
    wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    oldest = ["attributes.start_time ASC"]
    found = client.search_runs([experiment_id], wanted, max_results=1, order_by=oldest)
    return next(iter(found), None)
