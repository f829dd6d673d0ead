"""The command `rnnjob export RUN`, which hands a trained model on."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.errors import explained, terminated_as
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import (
    json_option,
    open_storage,
    storage_option,
    test_rows_option,
    trained_run_argument,
    trust_code_option,
)
from orchestrator.cli.output import echo, print_json

if TYPE_CHECKING:
    from orchestrator.trained.export import Export


@click.command("export", epilog=example("rnnjob export @last --format bundle -o bundle"))
@trained_run_argument
@click.option(
    "--format",
    "format_name",
    required=True,
    type=click.Choice(["safetensors", "onnx", "torchscript", "bundle"]),
    help="`safetensors`: the weights. `onnx` and `torchscript`: the whole computation, "
    "normalization included. `bundle`: a folder for plain torch, with code and a model card.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="File to write, or folder for a bundle.  [default: RUN and the format, here]",
)
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
@test_rows_option
@click.option(
    "--kuberay",
    is_flag=True,
    help="Print a job as a manifest for KubeRay instead. See rnnjob export --kuberay --help.",
)
@trust_code_option
@storage_option
@json_option
@click.option("-v", "--verbose", is_flag=True, help="Print the tracebacks of errors.")
@explained
def export_model_command(
    run_name: str,
    format_name: str,
    output: Path | None,
    force: bool,
    data_dir: Path | None,
    kuberay: bool,
    trust_code: bool,
    storage: str | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Write a run's model in the format of another program.

    RUN: an id, a unique prefix, or @last. RUN:best and RUN:STEP name a checkpoint. What is written
    is compared with the run's model on its test rows, or on made-up rows if those are not here.
    """
    from orchestrator.trained.export import export_run
    from orchestrator.trained.trained_run import open_trained

    trained = open_trained(open_storage(storage), run_name, trust_code)
    with terminated_as(KeyboardInterrupt):  # so that nothing half-written stays
        done = export_run(trained, format_name, output, force, data_dir)
    if as_json:
        print_json(done.to_json())
    else:
        _print(done)


def _print(done: "Export") -> None:
    from orchestrator.units import show_bytes

    exact, rounded = done.comparison.in_float32, done.comparison.in_own_precision
    sha256 = done.facts["weights_sha256"]
    echo(f"wrote {done.path} ({show_bytes(done.num_bytes)}), weights {sha256[:16]}")
    echo(f"checked on {exact.num_rows:,} {done.rows}: {_difference(exact.difference, done)}")
    if rounded:
        echo(
            f"the run computes in bf16, the export in float32: on these rows, "
            f"{_difference(rounded.difference, done)}"
            + (f", and {rounded.other_classes} have another class" if rounded.num_rows else "")
        )


def _difference(difference: float, done: "Export") -> str:
    if done.facts["target"]["kind"] == "classes":
        return f"probabilities differ by at most {difference:.1g}"
    return f"numbers differ by at most {difference:.1g} standard deviations"
