"""Laws of the overlap constraint and of stitching."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ptycho_torch.physics import cut_patches
from ptycho_torch.reassembly import Stitcher, merge_group, stitch

N = 8
SHAPE = (40, 44)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _scene(groups: int = 3, patterns: int = 4, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Random patches (B, C, N, N), centres that overlap here and there, and weights."""
    generator = _generator(seed)
    centers = torch.randint(N // 2, 20, (groups, patterns, 2), generator=generator)
    shape = (groups, patterns, N, N)
    patches = torch.randn(shape, dtype=torch.complex128, generator=generator)
    return patches, centers, torch.rand(shape, dtype=torch.float64, generator=generator) + 1e-3


def _cut(centers: Tensor, seed: int = 0) -> Tensor:
    whole = torch.randn(SHAPE, dtype=torch.complex128, generator=_generator(seed))
    return cut_patches(whole, centers.flatten(0, 1), N).view(*centers.shape[:2], N, N)


def _merged_by_loop(patches: Tensor, centers: Tensor, weights: Tensor) -> Tensor:
    merged = torch.empty_like(patches)
    for group, corners in enumerate(centers - N // 2):
        total, weight = torch.zeros(SHAPE, dtype=patches.dtype), torch.zeros(SHAPE, dtype=weights.dtype)
        for member, (y, x) in enumerate(corners.tolist()):
            total[y : y + N, x : x + N] += weights[group, member] * patches[group, member]
            weight[y : y + N, x : x + N] += weights[group, member]
        for member, (y, x) in enumerate(corners.tolist()):
            merged[group, member] = (total / weight)[y : y + N, x : x + N]
    return merged


def test_merging_is_the_weighted_mean_on_each_groups_canvas() -> None:
    scene = _scene()
    assert torch.allclose(merge_group(*scene), _merged_by_loop(*scene), rtol=1e-12)


@given(st.integers(0, 1000))
def test_patches_of_one_object_merge_to_themselves(seed: int) -> None:
    _, centers, weights = _scene(seed=seed)
    patches = _cut(centers)
    assert torch.allclose(merge_group(patches, centers, weights), patches, rtol=1e-12)


@given(st.integers(0, 1000))
def test_merging_twice_changes_nothing_more(seed: int) -> None:
    patches, centers, weights = _scene(seed=seed)
    once = merge_group(patches, centers, weights)
    assert torch.allclose(merge_group(once, centers, weights), once, rtol=1e-10, atol=1e-12)


def test_flat_stays_flat() -> None:
    patches, centers, weights = _scene()
    assert torch.allclose(merge_group(torch.ones_like(patches), centers, weights), torch.ones_like(patches), rtol=1e-12)


def test_lone_patterns_are_left_as_they_are() -> None:
    patches, centers, weights = _scene(patterns=1)
    assert merge_group(patches, centers, weights) is patches


def test_groups_do_not_touch_each_other() -> None:
    patches, centers, weights = _scene()
    alone = merge_group(patches[1:2], centers[1:2], weights[1:2])
    assert torch.allclose(merge_group(patches, centers, weights)[1:2], alone, rtol=1e-12)


def test_patches_that_do_not_overlap_are_left_as_they_are() -> None:
    patches, _, weights = _scene(patterns=2)
    centers = torch.tensor([[8, 8], [30, 8]]).expand(3, 2, 2)
    assert torch.allclose(merge_group(patches, centers, weights), patches, rtol=1e-12)


def test_merging_is_self_adjoint_under_its_weights() -> None:
    a, centers, weights = _scene()
    b = _scene(seed=1)[0]
    left = (weights * b.conj() * merge_group(a, centers, weights)).sum()
    right = (weights * merge_group(b, centers, weights).conj() * a).sum()
    assert torch.allclose(left, right, rtol=1e-12)


def test_gradients_match_finite_differences() -> None:
    patches, centers, weights = _scene(groups=1, patterns=2)
    patches, weights = patches[..., :3, :3].requires_grad_(), weights[..., :3, :3].requires_grad_()
    assert torch.autograd.gradcheck(lambda p, w: merge_group(p, centers // 4, w), (patches, weights))


def test_stitching_patches_of_one_object_gives_it_back() -> None:
    whole = torch.randn(SHAPE, dtype=torch.complex128, generator=_generator())
    _, centers, weights = _scene(groups=30)
    patches = cut_patches(whole, centers.flatten(0, 1), N).view(*centers.shape[:2], N, N)
    stitched, weight = stitch(patches, centers, weights, SHAPE)
    assert torch.allclose(stitched[weight > 0], whole[weight > 0].to(torch.complex64), rtol=1e-5)


def test_unseen_pixels_are_one_and_weigh_nothing() -> None:
    stitched, weight = stitch(torch.full((1, N, N), 2 + 1j), torch.tensor([[10, 10]]), torch.ones(1, N, N), SHAPE)
    assert int((weight > 0).sum()) == N * N
    assert (stitched[weight == 0] == 1).all()
    assert (stitched[weight > 0] == 2 + 1j).all()


def test_chunks_stitch_to_the_same_object() -> None:
    patches, centers, weights = _scene(groups=6)
    stitcher = Stitcher(SHAPE)
    for part in torch.arange(6).split(4):
        stitcher.add(patches[part], centers[part], weights[part])
    whole, weight = stitch(patches, centers, weights, SHAPE)
    assert torch.allclose(stitcher.result()[0], whole, rtol=1e-5)
    assert torch.allclose(stitcher.result()[1], weight, rtol=1e-5)
