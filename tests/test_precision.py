"""What `auto` means on a device. Nothing here needs the hardware: that it is there is told, not faked computing."""

from collections.abc import Iterator

import pytest
import torch

from ptycho_torch import precision
from ptycho_torch.precision import UNITS_OF_CPUS, in_precision, precision_on

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    precision._has_bfloat16.cache_clear()
    yield
    precision._has_bfloat16.cache_clear()


@pytest.mark.parametrize("unit", UNITS_OF_CPUS)
@pytest.mark.parametrize("is_there", [True, False])
def test_auto_is_half_precision_on_a_cpu_that_multiplies_it(monkeypatch: pytest.MonkeyPatch, unit: str, is_there: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {unit: is_there}, raising=False)
    assert precision_on(CPU, "auto") == ("bfloat16" if is_there else "float32")


def test_auto_is_single_precision_where_pytorch_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert precision_on(CPU, "auto") == "float32"


@pytest.mark.parametrize(("capability", "meant"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_auto_is_half_precision_on_gpus_whose_tensor_cores_know_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], meant: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert precision_on(torch.device("cuda"), "auto") == meant


@pytest.mark.parametrize("named", ["float32", "bfloat16"])
def test_what_is_named_is_taken(named: precision.Precision) -> None:
    assert precision_on(CPU, named) == named
    with in_precision(named, CPU):
        assert torch.nn.functional.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3)).dtype == getattr(torch, named)
