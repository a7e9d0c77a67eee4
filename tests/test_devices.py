"""Which device a configuration gets. Nothing here needs a GPU: its presence is told, not faked computing."""

from collections.abc import Iterator
from types import ModuleType

import pytest
import torch

from ptycho_torch.devices import ALLOTMENT_VARIABLES, choose_device, make_repeatable
from ptycho_torch.errors import DeviceError


@pytest.fixture(autouse=True)
def _plain_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for variable in ALLOTMENT_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def _settings_restored() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_a_plain_machine_computes_on_its_cpu_without_a_word(name: str) -> None:
    assert choose_device(name) == (torch.device("cpu"), [])


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_named_device_that_is_absent_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=f"training.device is {name}.*sees no {name} device.*set training.device to auto"):
        choose_device(name)


@pytest.mark.parametrize(("module", "name"), [(torch.cuda, "cuda"), (torch.backends.mps, "mps")])
def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> None:
    monkeypatch.setattr(module, "is_available", lambda: True)
    assert choose_device("auto") == (torch.device(name), [])


@pytest.mark.parametrize("variable", ALLOTMENT_VARIABLES)
def test_auto_warns_where_an_allotted_gpu_is_not_seen(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "0")
    device, warnings = choose_device("auto")
    assert device.type == "cpu"
    assert len(warnings) == 1
    assert f"{variable}=0" in warnings[0]


@pytest.mark.parametrize("value", ["", "-1", "NoDevFiles"])
def test_an_allotment_of_no_device_is_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert choose_device("auto")[1] == []


@pytest.mark.usefixtures("_settings_restored")
@pytest.mark.parametrize("deterministic", [True, False])
def test_repeatable_settings_take_effect(deterministic: bool) -> None:
    make_repeatable(deterministic=deterministic, threads=1)
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled() is deterministic
