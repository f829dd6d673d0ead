"""Flags of commands that speak to a cluster."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from workers.errors import InputError

if TYPE_CHECKING:
    from orchestrator.launchers.request import Shipping

P = ParamSpec("P")
R = TypeVar("R")

_HEADERS_VARIABLES = ["RNNJOB_HEADERS", "RAY_JOB_HEADERS"]
"""The second is that of `ray job`."""


def address_option(function: Callable[P, R]) -> Callable[P, R]:
    return click.option(
        "--address",
        metavar="URL",
        help="The cluster's dashboard, or the name of one of `rnnjob cluster up --local`.  "
        "[env: RAY_API_SERVER_ADDRESS, RAY_ADDRESS]",
    )(function)


def request_options(function: Callable[P, R]) -> Callable[P, R]:
    """Adds --headers and --verify, of all requests to a cluster; see `headers_from`."""
    headers = click.option(
        "--headers",
        envvar=_HEADERS_VARIABLES,
        metavar="JSON",
        help='Sent with each request to the cluster, and shown nowhere: \'{"Name": "value"}\'.  '
        f"[env: {', '.join(_HEADERS_VARIABLES)}]",
    )
    verify = click.option(
        "--verify/--no-verify", default=True, help="Check the cluster's certificate."
    )
    return headers(verify(function))


_SHIPPING: list[Callable[[Any], Any]] = [
    click.option(
        "--working-dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Sent along, and the job's folder on the cluster.",
    ),
    click.option("--env", multiple=True, metavar="KEY=VAL", help="For the job's processes."),
    click.option(
        "--env-file", type=click.Path(path_type=Path), metavar="FILE", help="Lines of KEY=VAL."
    ),
    click.option(
        "--secret",
        multiple=True,
        metavar="KEY",
        help="A variable of this environment for the job's processes, shown nowhere.",
    ),
]


_CLUSTER: list[Callable[[Any], Any]] = [
    address_option,
    request_options,
    click.option("-d", "--no-wait", "--detach", is_flag=True, help="Submit and return at once."),
    *_SHIPPING,
]


def shipping_options(function: Callable[P, R]) -> Callable[P, R]:
    """Adds the flags of what is sent along with a job; see `shipping_from`."""
    for option in reversed(_SHIPPING):
        function = option(function)
    return function


def cluster_options(function: Callable[P, R]) -> Callable[P, R]:
    """Adds the flags of a submission to a cluster."""
    for option in reversed(_CLUSTER):
        function = option(function)
    return function


def shipping_from(
    working_dir: Path | None,
    env: tuple[str, ...],
    env_file: Path | None,
    secret: tuple[str, ...],
    where: str | None,
) -> "Shipping":
    """What is sent along to the cluster `where`. Raises InputError for what cannot be read, and
    where there is none to send it to."""
    from orchestrator.launchers.request import Shipping

    sent = {"--working-dir": working_dir, "--env": env, "--env-file": env_file, "--secret": secret}
    given = next((flag for flag, value in sent.items() if value), None)
    if given and where is None:
        raise InputError(
            f"{given} is for what is sent to a cluster, and none was named",
            "name one: --address; here the job has this environment and this folder anyway",
        )
    lines = [*_lines(env_file), *env]
    missing = [name for name in secret if name not in os.environ]
    if missing:
        raise InputError(
            f"--secret {missing[0]} is not set in this environment", f"export {missing[0]}=..."
        )
    return Shipping(
        working_dir.resolve() if working_dir else None,
        dict(_pair(line) for line in lines),
        {name: os.environ[name] for name in secret},
    )


def headers_from(text: str | None) -> dict[str, str]:
    """The headers of --headers. Raises InputError."""
    from orchestrator.headers import parse_headers

    return {} if text is None else parse_headers(text)


def _lines(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file}: {error}", "check --env-file") from error
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _pair(line: str) -> tuple[str, str]:
    key, equals, value = line.partition("=")
    if not equals or not key.strip().isidentifier():
        # The value is not shown: it may be a secret in the wrong place.
        raise InputError(f"'{key}' is not of the form KEY=VAL", "for example --env LOG_LEVEL=debug")
    return key.strip(), value
