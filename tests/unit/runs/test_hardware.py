"""Which precision a CPU is given, from what Linux says of it."""

import pytest

from orchestrator.runs.hardware import best_precision, cpu_flags, cpu_precision
from workers.cpu import cpu_info

AVX512 = ["avx2", "avx512f", "avx512_bf16"]


@pytest.mark.parametrize(
    ("vendor", "flags", "precision"),
    [
        ("GenuineIntel", [*AVX512, "amx_tile", "amx_bf16"], "bf16"),
        ("GenuineIntel", AVX512, "fp32"),  # measured: slower than fp32
        ("AuthenticAMD", AVX512, "bf16"),
        ("AuthenticAMD", ["avx2", "avx512f"], "fp32"),
        ("AuthenticAMD", ["avx2"], "fp32"),
        ("", ["asimd"], "fp32"),
        ("", [], "fp32"),
    ],
)
def test_a_cpu_gets_bf16_if_it_is_in_the_table(
    vendor: str, flags: list[str], precision: str
) -> None:
    assert cpu_precision(vendor, flags) == precision


def test_this_machine_is_asked() -> None:
    assert best_precision(gpu=False) == cpu_precision(cpu_info().get("vendor_id", ""), cpu_flags())
