"""The rule that every skipped test must give a reason."""

from pathlib import Path

import pytest

PLUGIN = (Path(__file__).parent.parent / "skips.py").read_text()


def test_a_skip_is_printed_with_its_reason_and_passes(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(PLUGIN)
    pytester.makepyfile("import pytest\ndef test_it(): pytest.skip('needs a GPU')")
    result = pytester.runpytest_subprocess()
    assert result.ret == 0
    result.stdout.fnmatch_lines(["skipped *test_it: needs a GPU"])


def test_a_skip_without_a_reason_fails_the_run(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(PLUGIN)
    pytester.makepyfile("import pytest\n@pytest.mark.skip\ndef test_it(): pass")
    result = pytester.runpytest_subprocess()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["skipped without a reason, which fails the run: *test_it"])
