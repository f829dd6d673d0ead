"""Flags of the commands that talk to a cluster, and what their values mean."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.options.gathered import gathered
from orchestrator.cluster.headers import VARIABLES as HEADERS_VARIABLES
from workers.errors import InputError

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.launch.request import Shipping

R = TypeVar("R")


def address_option(function: Callable[..., R]) -> Callable[..., R]:
    """Add --address."""
    return click.option(
        "--address",
        metavar="URL",
        help="URL of the cluster's dashboard, or name of a cluster that "
        "`rnnjob cluster up --local` started.  [env: RAY_API_SERVER_ADDRESS, RAY_ADDRESS]",
    )(function)


@dataclass(frozen=True)
class RequestFlags:
    """The values of --headers and --verify, which apply to all requests to a cluster."""

    headers: str | None = None
    verify: bool = True

    def client(self, storage: str | None, address: str | None) -> "Client":
        """Return a client for a storage, by default ./runs.

        The cluster of `address` counts as named by the user from now on.

        Raises InputError, NoSuchClusterError or StorageError.
        """
        from orchestrator.client import Client
        from orchestrator.runs import DEFAULT_STORAGE

        client = Client(storage or DEFAULT_STORAGE, address, self.verify, self.parsed_headers())
        if address is not None:
            client.connection(address)
        return client

    def parsed_headers(self) -> dict[str, str]:
        """Return the headers by name. Raises InputError."""
        from orchestrator.cluster.headers import parse_headers

        return {} if self.headers is None else parse_headers(self.headers)


def request_options(function: Callable[..., R]) -> Callable[..., R]:
    """Add --headers and --verify. The command gets both as `requests`."""
    headers = click.option(
        "--headers",
        envvar=list(HEADERS_VARIABLES),
        metavar="JSON",
        help="HTTP headers for each request to the cluster, for example "
        '\'{"Name": "value"}\'. They are never shown.  '
        f"[env: {', '.join(HEADERS_VARIABLES)}]",
    )
    verify = click.option(
        "--verify/--no-verify", default=True, help="Verify the cluster's TLS certificate."
    )
    return headers(verify(gathered(RequestFlags, "requests")(function)))


_SHIPPING_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--working-dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Folder to send to the cluster. The job runs in it. Secrets, run folders, cut data "
        "sets, virtual environments, .git, caches and what .gitignore and .rayignore name are "
        "left out.",
    ),
    click.option(
        "--include",
        multiple=True,
        metavar="PATTERN",
        help="Path or pattern, relative to --working-dir, of what is sent although it would be "
        "left out. Secrets in a folder are sent only if they are named themselves. May be "
        "repeated.",
    ),
    click.option(
        "--env",
        multiple=True,
        metavar="KEY=VAL",
        help="Environment variable for the job's processes; may be repeated. Ray shows and logs "
        "its value: pass what is secret with --secret.",
    ),
    click.option(
        "--env-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="File with environment variables for the job's processes, one KEY=VAL per line.",
    ),
    click.option(
        "--secret",
        multiple=True,
        metavar="KEY",
        help="Variable of this environment to pass on to the job's processes. Its value is never "
        "shown. May be repeated.",
    ),
]


@dataclass(frozen=True)
class ShippingFlags:
    """The values of the flags for what is sent along with a job."""

    working_dir: Path | None
    include: tuple[str, ...]
    env: tuple[str, ...]
    env_file: Path | None
    secret: tuple[str, ...]

    def shipping(self, cluster: str | None) -> "Shipping":
        """Return what is sent along with a job.

        Args:
            cluster: names the cluster of the job; None if the job runs on this machine.

        Raises InputError if a file or a variable cannot be read, or if a flag is given but no
        cluster is named.
        """
        from orchestrator.launch.request import Shipping

        flags = {f"--{name.replace('_', '-')}": value for name, value in vars(self).items()}
        given = next((flag for flag, value in flags.items() if value), None)
        if given and cluster is None:
            raise InputError(
                f"{given} applies only to a job on a cluster, and no cluster is named",
                "name one: --address; on this machine a job has this environment and folder anyway",
            )
        if self.include and self.working_dir is None:
            raise InputError("--include needs a folder that is sent", "name it: --working-dir DIR")
        lines = [*_env_file_lines(self.env_file), *self.env]
        missing = [name for name in self.secret if name not in os.environ]
        if missing:
            raise InputError(
                f"--secret {missing[0]} is not set in this environment", f"export {missing[0]}=..."
            )
        return Shipping(
            self.working_dir.resolve() if self.working_dir else None,
            dict(_parse_pair(line) for line in lines),
            {name: os.environ[name] for name in self.secret},
            self.include,
        )


def shipping_options(function: Callable[..., R]) -> Callable[..., R]:
    """Add the flags for what is sent along with a job. The command gets them as `sent`."""
    function = gathered(ShippingFlags, "sent")(function)
    for option in reversed(_SHIPPING_OPTIONS):
        function = option(function)
    return function


def cluster_options(function: Callable[..., R]) -> Callable[..., R]:
    """Add the flags for a submission to a cluster."""
    no_wait = click.option(
        "-d", "--no-wait", "--detach", is_flag=True, help="Submit the job and return at once."
    )
    return address_option(request_options(no_wait(shipping_options(function))))


def _env_file_lines(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file}: {error}", "check --env-file") from error
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _parse_pair(line: str) -> tuple[str, str]:
    key, equals, value = line.partition("=")
    if not equals or not key.strip().isidentifier():
        # The value is not shown: it may be a secret in the wrong place.
        raise InputError(f"'{key}' is not of the form KEY=VAL", "for example --env LOG_LEVEL=debug")
    return key.strip(), value
