"""Laws of scoring on photons that were held out."""

from dataclasses import replace

import pytest
import torch
from tiny_jobs import N, tiny_job, tiny_object, tiny_scan
from torch import Tensor

from ptycho_torch.errors import PtychoError
from ptycho_torch.held_out import Predictor, hold_out, part_photons
from ptycho_torch.physics import Illumination, cut_patches, propagate


def flat_object(fed: Tensor, illumination: Illumination, centers: Tensor) -> Tensor:
    return torch.ones_like(illumination.probes)


def _truth(fed: Tensor, illumination: Illumination, centers: Tensor) -> Tensor:
    return cut_patches(tiny_object(), centers.flatten(0, 1), N).reshape(fed.shape)


def test_the_parts_sum_to_the_counts_and_follow_the_share() -> None:
    counts = tiny_scan().counts
    parts = part_photons(counts, 0.3, seed=5)
    assert torch.equal(parts.fed + parts.held, counts)
    assert float(parts.fed.sum() / counts.sum()) == pytest.approx(0.3, abs=0.01)
    assert parts.fed_share + parts.held_share == 1


def test_a_seed_deals_the_same_photons_and_another_others() -> None:
    first, again, other = (part_photons(tiny_scan().counts, 0.5, seed).fed for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_a_share_every_photon_is_fed_and_scored() -> None:
    counts = tiny_scan().counts
    parts = part_photons(counts, None, seed=1)
    assert parts.fed is counts
    assert parts.held is counts


@pytest.mark.parametrize("gridsize", [1, 2])
def test_the_truth_explains_held_out_photons_better_than_nothing(gridsize: int) -> None:
    held_out = hold_out(tiny_scan(), tiny_job(gridsize=gridsize), purpose=1)
    assert held_out.deviance(_truth) < 0.7 * held_out.deviance(flat_object)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_the_held_out_exposure_is_scaled_to_its_share(share: float) -> None:
    held_out = hold_out(tiny_scan(), tiny_job(photon_split=share), purpose=1)

    def scaled(gain: float) -> Predictor:
        return lambda *inputs: gain * _truth(*inputs)

    assert held_out.deviance(scaled(1.0)) < min(held_out.deviance(scaled(0.97)), held_out.deviance(scaled(1.03)))


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_the_probe_is_fed_with_the_light_of_the_fed_photons(share: float) -> None:
    scan, light = tiny_scan(), []

    def watch(fed: Tensor, illumination: Illumination, centers: Tensor) -> Tensor:
        light.append(float(illumination.probes.abs().square().sum() / fed.shape[0]))
        torch.testing.assert_close(illumination.far_fields, propagate(illumination.probes))
        return flat_object(fed, illumination, centers)

    hold_out(scan, tiny_job(photon_split=share), purpose=1).deviance(watch)
    assert light == pytest.approx([share * float(scan.probe.abs().square().sum())] * len(light))


def test_the_batch_size_does_not_change_a_score() -> None:
    first, second = (hold_out(tiny_scan(), tiny_job(batch_size=size), purpose=1).deviance(flat_object) for size in (24, 5))
    assert first == pytest.approx(second, rel=0.02)


def test_patterns_without_photons_do_not_change_a_score() -> None:
    held_out, dark = hold_out(tiny_scan(), tiny_job(batch_size=1), purpose=1), torch.arange(24) < 8
    parts = held_out.parts
    parts = replace(parts, held=torch.where(dark[:, None, None], 0, parts.held))
    lit = [rows for rows in held_out.batches if not dark[rows].any()]
    with_dark, without = (replace(held_out, parts=parts, batches=batches) for batches in (held_out.batches, lit))
    assert 0 < with_dark.deviance(_truth) == without.deviance(_truth)


def test_a_scan_without_held_out_photons_is_refused_by_dose_and_split() -> None:
    scan = replace(tiny_scan(), counts=torch.zeros(24, N, N))
    with pytest.raises(PtychoError, match=r"No photon of 24 patterns .* dose is 10000 photons per frame, photon_split 0\.25;"):
        hold_out(scan, tiny_job(photon_split=0.25), purpose=1)


def test_another_grouping_seed_gives_other_groups() -> None:
    job = tiny_job(gridsize=2)
    jobs = (job, job, job.model_copy(update={"grouping_seed": 124}))
    first, again, other = (torch.cat(list(hold_out(tiny_scan(), each, purpose=1).batches)).tolist() for each in jobs)
    assert first == again
    assert first != other


def test_every_pattern_is_scored_once_without_groups() -> None:
    rows = torch.cat([batch.flatten() for batch in hold_out(tiny_scan(), tiny_job(), purpose=1).batches])
    assert sorted(rows.tolist()) == list(range(24))
