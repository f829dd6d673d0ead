"""What a person sees of a drill."""

from rich.table import Table

from orchestrator.drill.outcomes import FaultOutcome
from orchestrator.drill.run import Report
from orchestrator.units import show_duration


def tables(report: Report) -> list[Table]:
    """The faults, then what was compared."""
    faults = _table("FAULT", "STEP", "OUTCOME", "WENT ON FROM", "REPEATED", "TIME LOST", "")
    for fault in report.faults:
        faults.add_row(*_cells(fault))
    checks = _table("CHECK", "", "UNDISTURBED", "DISTURBED")
    for check in report.checks:
        verdict = "ok" if check.ok else "DIFFERS"
        checks.add_row(check.name, verdict, check.undisturbed, check.disturbed)
    return [faults, checks]


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=bool(column))
    return table


def _cells(fault: FaultOutcome) -> list[str]:
    went_on = f"step {fault.resumed_at}" if fault.resumed_at is not None else "-"
    repeated = f"{fault.repeated_steps} steps" if fault.repeated_steps is not None else "-"
    lost = show_duration(fault.lost_s) if fault.lost_s is not None else "-"
    told = fault.note or fault.target
    return [fault.kind, str(fault.step), fault.outcome, went_on, repeated, lost, told]
