"""Begin with the API: start a job, or open runs that exist."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from orchestrator import runs
from orchestrator.api.given import shipping_from, spec_from
from orchestrator.api.run import Run
from orchestrator.api.start import launcher_for, start
from orchestrator.client import Client
from orchestrator.cluster.connection import given_address
from orchestrator.cluster.headers import headers_of_environment
from orchestrator.launch.submission import check_new_run
from orchestrator.spec.job_spec import JobSpec
from workers.errors import InputError


def submit(
    spec: JobSpec | Mapping[str, Any] | str | Path | None = None,
    /,
    *,
    local: bool = False,
    workers: int | str | None = None,
    address: str | None = None,
    storage: str | Path | None = None,
    run_id: str | None = None,
    preset: str | None = None,
    working_dir: str | Path | None = None,
    include: Iterable[str] = (),
    env: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
    headers: Mapping[str, str] | None = None,
    verify: bool = True,
) -> Run:
    """Start a job and return its run at once.

    The job runs in a thread of this process (`local`), on a cluster (`address`), or else on a Ray
    that is started on this machine for the job. On a cluster it goes on without this process. On
    this machine it does not: a script that ends without `Run.wait` waits for the run, and Ctrl-C
    stops it. Whoever leaves an interactive session or a notebook stops the run with a checkpoint,
    from which `Run.resume` goes on.

    Args:
        spec: what to train: a mapping of dotted keys, as in `{"training.epochs": 3}`, the path of a
            YAML file, or a JobSpec. docs/spec.md has the keys. Without it, the defaults hold.
        local: train in this process, without Ray. One run at a time can do so.
        workers: the number of training processes, or a range `"MIN:MAX"`.
        address: the URL of a cluster's dashboard, or the name of a cluster that
            `rnnjob cluster up --local` started. By default, what RAY_API_SERVER_ADDRESS or
            RAY_ADDRESS names.
        storage: where the run's folder will be: a path, or a URI that pyarrow opens. By default,
            what the spec or RNNJOB_STORAGE says, or else `./runs`.
        run_id: the run's id. By default, one is made from the job's name and the time.
        preset: the name of a preset, whose values are used where `spec` has none.
        working_dir: a folder that is sent to the cluster, where the job starts in it.
        include: patterns of what is sent of it although it would be left out, such as a secret.
        env: environment variables for the job on the cluster. Ray shows their values.
        secrets: names of variables of this environment that are sent there and shown nowhere.
        headers: HTTP headers of each request to the cluster. By default, those in RNNJOB_HEADERS or
            RAY_JOB_HEADERS, which hold JSON.
        verify: whether the cluster's certificate must be one that can be checked.

    Raises JobError if the job is refused; then nothing of it is left behind.
    """
    if local and (workers is not None or address is not None):
        other = "workers" if workers is not None else "address"
        raise InputError(
            f"local=True is one process and takes no {other}", "leave one of the two out"
        )
    cluster = None if local else given_address(address)
    shipping = shipping_from(working_dir, include, env, secrets, cluster)
    job_spec = spec_from(spec, preset, workers, storage)
    client = _client(job_spec.storage, cluster, headers, verify)
    launcher = launcher_for(client, runs.LOCAL if local else runs.RAY, cluster, shipping)
    return Run(client, *start(check_new_run(job_spec, launcher, run_id)))


def open_run(
    name: str = "@last",
    storage: str | Path | None = None,
    *,
    address: str | None = None,
    headers: Mapping[str, str] | None = None,
    verify: bool = True,
) -> Run:
    """Open a run that exists, wherever it was started.

    Args:
        name: an id, a unique prefix of one, or `@last` for the newest run.
        storage: where the runs are. By default, what RNNJOB_STORAGE says, or else `./runs`.
        address: the run's cluster. It is needed once if you have never named that cluster: else it
            is not asked, and gets no token.
        headers: HTTP headers of each request to the cluster, as for `submit`.
        verify: whether the cluster's certificate must be one that can be checked.

    Raises JobError if no run has the name, or several do.
    """
    client = _client(_storage(storage), address, headers, verify)
    if address is not None:
        client.connection(address)  # from now on the user has named it
    return Run(client, client.get_run(name))


def list_runs(storage: str | Path | None = None) -> list[Run]:
    """Return all runs of a storage, newest first.

    Args:
        storage: where the runs are. By default, what RNNJOB_STORAGE says, or else `./runs`.

    Raises JobError if the storage cannot be read.
    """
    client = _client(_storage(storage), None, None, True)
    return [Run(client, client.get_run(status.run_id)) for status in client.list_runs()]


def _storage(storage: str | Path | None) -> str:
    return str(storage or os.environ.get("RNNJOB_STORAGE") or runs.DEFAULT_STORAGE)


def _client(
    storage: str, address: str | None, headers: Mapping[str, str] | None, verify: bool
) -> Client:
    return Client(storage, address, verify, _headers(address, headers))


def _headers(address: str | None, headers: Mapping[str, str] | None) -> dict[str, str]:
    if headers is not None:
        return dict(headers)
    try:
        return headers_of_environment()
    except InputError:
        if address is not None:
            raise
        return {}  # what cannot be sent is nothing for a job that sends nothing
