"""Random changes of training rows."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from workers.config import AugmentConfig
from workers.models.augment import add_noise, add_offset, move
from workers.models.noise import Noise

SIZE = 12


def noise_of(seed: int, rows: int = 1) -> Noise:
    return Noise([(torch.Generator().manual_seed(seed), rows)])


def drawn(seed: int) -> list[float]:
    """Return what `move` draws for one image, in [-1, 1): angle, size, shear, shift x and y."""
    numbers: list[float] = (noise_of(seed).uniform(5) * 2 - 1)[0].tolist()
    return numbers


def seed_where(fits: Callable[[list[float]], bool]) -> int:
    """Return the first seed whose draws fit."""
    return next(seed for seed in range(1000) if fits(drawn(seed)))


def random_images(number: int) -> Tensor:
    return torch.rand(number, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def test_a_config_of_zeros_leaves_every_image_as_it_is() -> None:
    images = random_images(5)
    changed = move(images, AugmentConfig(), noise_of(3, 5))
    torch.testing.assert_close(changed, images, rtol=0, atol=1e-5)
    assert not AugmentConfig().is_affine


@pytest.mark.parametrize("key", ["shift_px", "rotate_deg", "scale", "shear"])
def test_each_kind_of_change_turns_augmentation_on_and_changes_images(key: str) -> None:
    config = AugmentConfig(**{key: 0.5})
    assert config.is_affine
    images = random_images(3)
    assert (move(images, config, noise_of(1, 3)) - images).abs().max() > 1e-3


@pytest.mark.parametrize("pixels", [1, 2, 3])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_shift_of_n_pixels_moves_the_image_by_n_pixels(pixels: int, sign: int, axis: str) -> None:
    at, other = (3, 4) if axis == "x" else (4, 3)
    seed = seed_where(lambda d: d[at] * sign > 0.4 and abs(d[other]) < 0.4)
    share = drawn(seed)[at]
    config = AugmentConfig(shift_px=pixels / abs(share))  # this image's shift is then n
    line = torch.rand(SIZE, generator=torch.Generator().manual_seed(9))
    image = line.expand(SIZE, SIZE)  # constant along y: the other axis' shift does not show
    image = image if axis == "x" else image.T
    moved = move(image[None], config, noise_of(seed))[0]
    moved = moved if axis == "x" else moved.T
    middle = moved[SIZE // 2]  # the other shift's border stays away from it
    offset = sign * pixels  # the pixel at output x comes from input x + shift
    wanted = torch.zeros(SIZE)
    for x in range(SIZE):
        if 0 <= x + offset < SIZE:
            wanted[x] = line[x + offset]
    torch.testing.assert_close(middle, wanted, rtol=0, atol=1e-4)


def test_a_rotation_keeps_the_centre_and_turns_by_the_drawn_angle() -> None:
    seed = seed_where(lambda d: abs(d[0]) > 0.6)
    angle = drawn(seed)[0]
    config = AugmentConfig(rotate_deg=90 / abs(angle))
    image = random_images(1)
    turned = move(image, config, noise_of(seed))
    quarter = torch.rot90(image, 1 if angle > 0 else -1, dims=(1, 2))
    torch.testing.assert_close(turned, quarter, rtol=0, atol=1e-4)


def test_scale_changes_the_size_of_a_square_by_the_drawn_share() -> None:
    size = 40
    square = torch.zeros(1, size, size)
    square[:, 10:30, 10:30] = 1.0
    config = AugmentConfig(scale=0.4)
    factor = 1 + 0.4 * drawn(5)[1]
    area = move(square, config, noise_of(5)).sum().item()
    assert area == pytest.approx(400 * factor**2, rel=0.05)


def test_each_image_has_a_change_of_its_own_that_does_not_depend_on_its_neighbours() -> None:
    image = random_images(1)
    config = AugmentConfig(shift_px=2, rotate_deg=30, scale=0.1, shear=0.1)
    three = move(image.repeat(3, 1, 1), config, noise_of(1, 3))
    assert not torch.equal(three[0], three[1])
    pieces = Noise([(torch.Generator().manual_seed(seed), 1) for seed in (8, 9)])
    joined = move(image.repeat(2, 1, 1), config, pieces)
    torch.testing.assert_close(joined[1:], move(image, config, noise_of(9)))


def test_what_comes_from_outside_the_image_is_0() -> None:
    config = AugmentConfig(shift_px=2 * SIZE / abs(drawn(1)[3]))
    moved = move(torch.ones(1, SIZE, SIZE), config, noise_of(1))
    assert moved.abs().max().item() == 0.0


def test_noise_is_gaussian_and_drawn_piece_by_piece() -> None:
    config, zeros = AugmentConfig(noise=0.5), torch.zeros(200, 50, 4)
    noisy = add_noise(zeros, config, noise_of(1, 200))
    assert abs(noisy.mean().item()) < 0.01
    assert abs(noisy.std().item() - 0.5) < 0.01
    assert abs((noisy.abs() < 0.5).double().mean().item() - 0.6827) < 0.01
    pieces = Noise([(torch.Generator().manual_seed(seed), 100) for seed in (1, 2)])
    alone = add_noise(zeros[100:], config, noise_of(2, 100))
    assert torch.equal(add_noise(zeros, config, pieces)[100:], alone)


def test_no_noise_changes_nothing() -> None:
    images = random_images(2)
    assert add_noise(images, AugmentConfig(), noise_of(1, 2)) is images
    assert add_noise(images, AugmentConfig(noise=1.0), None) is images  # an evaluation


def test_an_offset_is_gaussian_and_the_same_at_all_steps_of_a_row() -> None:
    config, zeros = AugmentConfig(offset=0.5), torch.zeros(2000, 7, 4)
    moved = add_offset(zeros, config, noise_of(1, 2000))
    assert torch.equal(moved, moved[:, :1].expand_as(moved))
    assert abs(moved[:, 0].mean().item()) < 0.02
    assert abs(moved[:, 0].std().item() - 0.5) < 0.01
    assert not torch.equal(moved[0, 0, 0], moved[0, 0, 1])
    pieces = Noise([(torch.Generator().manual_seed(seed), 1000) for seed in (1, 2)])
    alone = add_offset(zeros[1000:], config, noise_of(2, 1000))
    assert torch.equal(add_offset(zeros, config, pieces)[1000:], alone)


def test_no_offset_changes_nothing() -> None:
    rows = torch.rand(2, 5, 3)
    assert add_offset(rows, AugmentConfig(), noise_of(1, 2)) is rows
    assert add_offset(rows, AugmentConfig(offset=1.0), None) is rows  # an evaluation
