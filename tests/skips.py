"""No test is skipped in silence: a skip is printed with its reason; one without fails the run."""

from typing import Any

import pytest

_unexplained: list[str] = []
_skipped: list[tuple[str, str]] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if not report.skipped:
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped:").strip()
    if reason and reason != "unconditional skip":
        _skipped.append((report.nodeid, reason))
    else:
        _unexplained.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _unexplained:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for nodeid, reason in _skipped:
        terminalreporter.write_line(f"skipped {nodeid}: {reason}")
    for nodeid in _unexplained:
        terminalreporter.write_line(f"skipped without a reason, which fails the run: {nodeid}")
