"""The command `rnnjob export`: of a trained model or, with --kuberay, of a job for a cluster."""

from typing import Any

import click

from orchestrator.cli.cluster.kuberay import export_kuberay_command
from orchestrator.cli.models.export import export_model_command


class _Export(click.Command):
    """Two commands with one name. `--kuberay` says which one is meant."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        command = export_kuberay_command if "--kuberay" in args else export_model_command
        return command.make_context(info_name, args, parent, **extra)


export_command = _Export(
    "export",
    help=export_model_command.help,
    params=list(export_model_command.params),
    epilog=export_model_command.epilog,
)
