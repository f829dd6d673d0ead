"""The command `rnnjob compare`."""

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.completion_values import run_ids
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import json_option, open_storage, storage_option
from orchestrator.cli.output import print_json


@click.command("compare", epilog=example("rnnjob compare lstm gru"))
@click.argument("names", metavar="RUN RUN...", nargs=-1, required=True, shell_complete=run_ids)
@storage_option
@json_option
@explained
def compare_command(names: tuple[str, ...], storage: str | None, as_json: bool) -> None:
    """Print what differs between runs: in spec, data, code, packages and hardware, and in what came
    out, and whether the weights are the same.

    RUN: an id, a unique prefix, or @last. What the ids of repeats (submit --seeds) begin with names
    all of them as one group. Two groups are compared seed by seed, and the command says whether
    the difference is more than noise: p-values of a paired t-test and of an exact sign-flip test.
    One group alone is listed with mean and standard deviation.
    """
    from orchestrator.observe.evidence import state_here
    from orchestrator.runs.repeats import find_runs
    from orchestrator.runs.side_by_side.columns import read_column
    from orchestrator.runs.side_by_side.differences import set_side_by_side

    place = open_storage(storage)
    columns = [
        read_column(find_runs(place, name), lambda run: state_here(run).state) for name in names
    ]
    if len(columns) == 1 and columns[0].is_group:
        from orchestrator.cli.repeats import show_repeats

        show_repeats(columns[0], as_json)
        return
    found = set_side_by_side(columns)
    if as_json:
        print_json(found.to_json())
        return
    from orchestrator.cli.console import plain_console
    from orchestrator.display.differences import WIDTH, compared

    console = plain_console(WIDTH)
    for part in compared(found):
        console.print(part)
