"""The network of the preset `best`."""

import pytest
import torch

from orchestrator.launch.model_code import code_for
from orchestrator.spec.build import build_spec
from workers.models.shipped import sweeps
from workers.models.shipped.sweeps import Level, Sweeps


def test_each_place_of_a_grid_comes_to_know_all_of_it() -> None:
    torch.manual_seed(0)
    level = Level(num_features=3, size=4)
    grid = torch.randn(1, 5, 6, 3, requires_grad=True)
    known = level(grid)
    assert known.shape == (1, 5, 6, 8)
    for row, column in ((0, 0), (2, 3), (4, 5)):
        (seen,) = torch.autograd.grad(known[0, row, column].sum(), grid, retain_graph=True)
        assert (seen.abs().sum(dim=3) > 0).all()


@pytest.mark.parametrize(("height", "width"), [(28, 28), (9, 31), (4, 4)])
def test_images_of_any_size_become_outputs(height: int, width: int) -> None:
    model = Sweeps(num_outputs=7, sizes=(2, 3))
    assert model(torch.rand(5, height, width)).shape == (5, 7)


def test_a_patch_holds_its_pixels_row_by_row() -> None:
    grid = torch.arange(30.0).view(1, 5, 6, 1)
    patches = sweeps._patches(grid, 4)
    assert patches.shape == (1, 1, 2, 16)
    assert patches[0, 0, 1].tolist() == [
        6.0 * row + 2 + column for row in range(4) for column in range(4)
    ]


def test_a_run_has_its_one_file_and_not_all_of_rnnjob() -> None:
    spec, code = code_for(build_spec("best"))
    assert code is not None and list(code.files) == ["sweeps.py"]
    assert spec.model.class_path == "sweeps.py:Sweeps"
    assert spec.model.code_sha256 == code.sha256
