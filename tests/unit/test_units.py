"""Durations and sizes in the form in which people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.units import parse_bytes, parse_duration, show_bytes, show_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("2h30m", 9000),
        ("1d", 86400),
        ("1.5h", 5400),
        (" 2H ", 7200),
        (45, 45),
        (0.5, 0.5),
    ],
)
def test_durations_are_seconds(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "abc", "10x", "h", "10 m", "1h-2m", "-5", "m10", True, "1e3"])
def test_an_invalid_duration_is_refused_with_examples(text: str | bool) -> None:
    with pytest.raises(ValueError, match="is not a duration; write 90s, 10m or 2h30m"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0", "0s", 0, -1, float("inf"), float("nan"), 10**400])
def test_a_duration_is_above_zero_and_finite(text: str | float) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1GiB", 2**30),
        ("500 MB", 500_000_000),
        ("4096", 4096),
        (17, 17),
        ("1.5kib", 1536),
        ("2TB", 2 * 10**12),
        ("8 b", 8),
    ],
)
def test_sizes_are_bytes(text: str | int, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "1 XB", "-1", "1,5GB", True])
def test_an_invalid_size_is_refused_with_examples(text: str | bool) -> None:
    with pytest.raises(ValueError, match="is not a size; write 1GiB or 500MB"):
        parse_bytes(text)


@pytest.mark.parametrize("text", [0, -5, "0GiB", "0.5"])
def test_a_size_is_above_zero(text: str | int) -> None:
    with pytest.raises(ValueError, match="a size must be above zero"):
        parse_bytes(text)


@given(st.text(max_size=12) | st.integers() | st.from_regex(r"\d{1,400}(\.\d+)?[a-zA-Z]{0,3}"))
def test_any_input_gives_a_number_above_zero_or_a_value_error(text: str | int) -> None:
    for parse in (parse_duration, parse_bytes):
        try:
            assert parse(text) > 0
        except ValueError as error:
            assert "must be above zero" in str(error) or "write" in str(error)


@pytest.mark.parametrize("text", ["9" * 400 + "GiB", "9" * 400])
def test_a_size_that_is_too_large_for_a_number_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m 00s"),
        (185, "3m 05s"),
        (3599.7, "1h 00m"),
        (7800, "2h 10m"),
        (86399, "23h 59m"),
        (356400, "4d 3h"),
    ],
)
def test_durations_are_shown_with_two_units(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (512, "512 B"), (1536, "1.5 KiB"), (5 * 2**20, "5.0 MiB"), (2**42, "4096.0 GiB")],
)
def test_sizes_are_shown_in_powers_of_1024(size: int, text: str) -> None:
    assert show_bytes(size) == text
