"""Laws of the networks that look at a whole canvas, and of what they are shown."""

from typing import Any

import pytest
import torch
from tiny_jobs import OBJECT_SHAPE, N, tiny_job, tiny_object, tiny_scan

from ptycho_torch.adaptation import adapted
from ptycho_torch.canvas_sight import first_sight, second_sight
from ptycho_torch.canvas_unet import CanvasSight, CanvasUNet, Refiner
from ptycho_torch.config import JobConfig
from ptycho_torch.data_consistency import take_steps
from ptycho_torch.errors import TrainingDivergedError
from ptycho_torch.held_out import object_deviance, part_scan
from ptycho_torch.lessons import CanvasLesson, lessons
from ptycho_torch.model import PtychoModel, seeded_model
from ptycho_torch.network_object import network_object
from ptycho_torch.reconstruction import reconstruct, refined_object
from ptycho_torch.symmetries import N_TURNS, turned, turned_back

FLAT = torch.ones(OBJECT_SHAPE, dtype=torch.complex64)
REFINER: dict[str, Any] = {
    "descent_shares": (0.5, 1.0),
    "unet_widths": (4, 8),
    "epochs": 12,
    "batch_size": 24,
    "exposures": 2,
    "most_steps": 12,
}


def _refiner(steps: tuple[int, ...], sees_network: bool = True) -> Refiner:
    torch.manual_seed(0)
    refiner = Refiner(len(steps), sees_network, (4, 8), 0.05, "float32")
    refiner.after_steps.copy_(torch.tensor(steps))
    return refiner


def test_the_eight_turns_differ_and_can_be_undone() -> None:
    image = torch.arange(12.0).view(1, 3, 4)
    ways = [turned(image, turn) for turn in range(N_TURNS)]
    assert len({(*way.shape, *way.flatten().tolist()) for way in ways}) == N_TURNS
    assert all(torch.equal(turned_back(way, turn), image) for turn, way in enumerate(ways))


def test_a_refiner_is_shown_the_networks_object_and_those_that_steps_pass_through() -> None:
    scan, network = tiny_scan(), tiny_object()
    sight = second_sight(scan, network, _refiner((0, 2, 2, 5)))
    assert torch.equal(sight.objects[0], network)
    for index, steps in enumerate((0, 2, 2, 5), start=1):
        assert torch.equal(sight.objects[index], take_steps(scan, FLAT, steps)), steps


def test_a_refiner_may_be_kept_from_the_networks_object() -> None:
    refiner = _refiner((1, 3), sees_network=False)
    first, second = (second_sight(tiny_scan(), network, refiner) for network in (FLAT, tiny_object()))
    assert torch.equal(first.features(), second.features())


def test_the_counts_of_an_object_do_not_pull_it_anywhere() -> None:
    scan = tiny_scan()
    at_truth = second_sight(scan, tiny_object(), _refiner((0,))).pull.abs().mean()
    refiner = _refiner((20,))
    assert second_sight(scan, FLAT, refiner).pull.abs().mean() < 0.2 * at_truth


def test_the_pull_is_the_same_at_every_dose() -> None:
    scan = tiny_scan()
    brighter = type(scan)(scan.positions_yx, 9 * scan.counts, scan.centers, scan.shifts, 3 * scan.probe)
    dim, bright = (first_sight(one, OBJECT_SHAPE).features() for one in (scan, brighter))
    torch.testing.assert_close(dim, bright, atol=1e-4, rtol=1e-4)


def _without_correction(network: CanvasUNet) -> CanvasUNet:
    torch.nn.init.zeros_(network.unet.head.weight)
    return network


@pytest.mark.parametrize("n_objects", [1, 3])
def test_untrained_it_answers_the_mean_of_what_it_is_shown(n_objects: int) -> None:
    objects = torch.randn(n_objects, *OBJECT_SHAPE, dtype=torch.complex64)
    light = torch.rand(OBJECT_SHAPE)
    sight = CanvasSight(objects, objects[0], light, (slice(7, 60), slice(3, 90)))
    canvas = _without_correction(CanvasUNet(n_objects, (4, 8), 0.05, "float32"))(sight)
    torch.testing.assert_close(sight.inside(canvas), sight.inside(objects).mean(dim=0))
    outside = torch.ones(OBJECT_SHAPE, dtype=torch.bool)
    outside[sight.box] = False
    assert torch.equal(canvas[outside], objects[-1][outside])


def test_seen_from_all_sides_it_does_not_matter_how_the_scan_lies() -> None:
    torch.manual_seed(0)
    network, objects = CanvasUNet(2, (4, 8), 1.0, "float32"), torch.randn(2, 24, 32, dtype=torch.complex64)
    pull, light = torch.randn(24, 32, dtype=torch.complex64), torch.rand(24, 32)
    whole = (slice(None), slice(None))
    upright = network.from_all_sides(CanvasSight(objects, pull, light, whole))
    for turn in range(N_TURNS):
        lying = CanvasSight(turned(objects, turn), turned(pull, turn), turned(light, turn), whole)
        torch.testing.assert_close(network.from_all_sides(lying), turned(upright, turn), atol=1e-4, rtol=1e-4)


def test_what_lies_outside_of_every_window_is_one() -> None:
    model = seeded_model(tiny_job(architecture="canvas_unet"))
    assert network_object(model, tiny_scan(), tiny_job(), OBJECT_SHAPE)[-N // 4 :, -N // 4 :].sub(1).abs().max() < 0.5
    assert refined_object(model, tiny_scan(), tiny_job(), FLAT) is None
    assert reconstruct(model, tiny_scan(), tiny_job(), OBJECT_SHAPE).refined_yx is None


def _taught(lesson: CanvasLesson) -> None:
    optimizer = torch.optim.Adam(lesson.learner.parameters(), lr=5e-3)
    for epoch in range(lesson.epochs):
        for number, rows in enumerate(lesson.batches(epoch)):
            loss = lesson.loss(rows, seed=1000 * epoch + number)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()


def test_a_refiner_learns_to_explain_photons_that_it_was_not_fed() -> None:
    scan, job = tiny_scan(), tiny_job(refiner=REFINER)
    model = seeded_model(job)
    lesson = lessons(model, scan, job)[1]
    assert isinstance(lesson, CanvasLesson)
    before = lesson.validation_loss()
    _taught(lesson)
    assert lesson.validation_loss() < before
    assert model.refiner is not None
    assert 0 < int(model.refiner.after_steps[0]) <= int(model.refiner.after_steps[1]) <= REFINER["most_steps"]


def test_a_canvas_network_learns_from_the_photons_alone() -> None:
    scan, job = tiny_scan(), tiny_job(architecture="canvas_unet", epochs=20, batch_size=24)
    model, exposures = seeded_model(job), part_scan(tiny_scan(), 0.5, seed=9)
    before = object_deviance(network_object(model, exposures.fed, job, OBJECT_SHAPE), exposures.held)
    lesson = lessons(model, scan, job)[0]
    assert isinstance(lesson, CanvasLesson)
    _taught(lesson)
    flat = object_deviance(FLAT, exposures.held)
    after = object_deviance(network_object(model, exposures.fed, job, OBJECT_SHAPE), exposures.held)
    assert after < 0.7 * min(before, flat)


def test_the_validation_exercise_is_one_that_no_step_sees() -> None:
    lesson = lessons(seeded_model(tiny_job(refiner=REFINER)), tiny_scan(), tiny_job(refiner=REFINER))[1]
    assert isinstance(lesson, CanvasLesson)
    seen = {float(lesson.loss(torch.arange(24), seed).detach()) for seed in range(200)}
    assert len(seen) == REFINER["exposures"] * N_TURNS


def _held_out(model: PtychoModel, job: JobConfig) -> float:
    """Of the refined object of a scan, on photons that neither network nor refiner was given."""
    exposures = part_scan(tiny_scan(), 0.75, seed=11)
    refined = refined_object(model, exposures.fed, job, network_object(model, exposures.fed, job, OBJECT_SHAPE))
    assert refined is not None
    return object_deviance(refined, exposures.held)


def test_adaptation_explains_photons_that_it_was_not_fed_and_leaves_the_model_as_it_is() -> None:
    fixed, adapting = (tiny_job(refiner=REFINER | {"adaptation_epochs": epochs}) for epochs in (0, 12))
    model = seeded_model(fixed)
    assert model.refiner is not None
    model.refiner.after_steps.copy_(torch.tensor([2, 6]))
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    assert _held_out(model, adapting) < 0.9 * _held_out(model, fixed)
    assert all(torch.equal(before[name], weights) for name, weights in model.state_dict().items())


def test_adaptation_to_the_same_scan_is_the_same_and_may_be_left_out() -> None:
    job = tiny_job(refiner=REFINER | {"adaptation_epochs": 1})
    model = seeded_model(job)
    first, second = (adapted(model, tiny_scan(), job).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert adapted(model, tiny_scan(), tiny_job(refiner=REFINER | {"adaptation_epochs": 0})) is model.refiner


def test_adaptation_that_diverges_is_an_error() -> None:
    job = tiny_job(refiner=REFINER | {"adaptation_epochs": 1, "learning_rate": 1e30})
    with pytest.raises(TrainingDivergedError, match=r"The (training loss|gradient's norm) of .* became (nan|inf) at step \d"):
        adapted(seeded_model(job), tiny_scan(), job)


def test_a_scan_that_the_refiner_has_learnt_on_needs_no_adaptation() -> None:
    job = tiny_job(refiner=REFINER | {"adaptation_epochs": 2})
    unadapting = tiny_job(refiner=REFINER | {"adaptation_epochs": 0})
    model = seeded_model(job)
    known, fixed, adapting = (
        refined_object(model, tiny_scan(), one, FLAT, known=known)
        for one, known in ((job, True), (unadapting, False), (job, False))
    )
    assert known is not None
    assert fixed is not None
    assert adapting is not None
    assert torch.equal(known, fixed)
    assert not torch.equal(known, adapting)
