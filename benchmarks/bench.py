"""How fast the program is beside what the machine can do: `make bench`, and `make bench-full` for every cell of the matrix.

Prints each ratio with what is required and what it is a ratio to, and writes them to a JSON file. It measures: a miss is shown,
and is no error.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grouping_and_data
import inference
import large_studies
import starting
import torch
import training_throughput
from epoch_profile import profile
from machine import has_bfloat16, this_machine
from measures import Measure, write
from rich.console import Console
from rich.table import Table
from scenes import dataset_files
from training_throughput import FULL, QUICK, Cell

THREADS = 2
RUNS = 5
REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "build" / "bench"
JSON = FOLDER / "bench.json"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="every cell of the training matrix, not two")
    parser.add_argument("--output", type=Path, default=JSON, help="the JSON file (default: build/bench/bench.json)")
    arguments = parser.parse_args()
    console = Console()
    machine = this_machine(THREADS)
    console.print(
        f"{machine['cpu']}, {THREADS} of {machine['cores']} cores; PyTorch {machine['torch']}; GPU: {machine['gpu'] or 'none'}"
    )
    measures = []
    for measure in _measures(FULL if arguments.full else QUICK):
        measures.append(measure)
        console.print(_line(measure), highlight=False)
    files = dataset_files(FOLDER / "data")
    profiles = [profile(cell, files[0], THREADS) for cell in _profiled()]
    write(arguments.output, machine, measures, profiles, arguments.full)
    console.print(_table(measures))
    console.print(f"written to {arguments.output}")


def _measures(cells: tuple[training_throughput.Cell, ...]) -> Iterator[Measure]:
    train_file, test_file = dataset_files(FOLDER / "data")
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in devices:
        for cell in cells:
            with tempfile.TemporaryDirectory() as folder:
                yield from training_throughput.measured(replace(cell, device=device), train_file, Path(folder), THREADS)
        for case in inference.CASES:
            yield inference.measured(case, test_file, device, THREADS, RUNS)
    if "cuda" not in devices:
        yield Measure(
            section="training",
            name="on a CUDA GPU",
            value=None,
            unit="x",
            required=training_throughput.REQUIRED_SHARE,
            better="more",
            reference=training_throughput.GRAPH_LIMIT,
            note="this machine has no CUDA GPU; the same command measures it where there is one",
        )
    yield from grouping_and_data.measured(FOLDER / "data", THREADS, RUNS)
    yield from starting.measured(FOLDER / "start", THREADS, RUNS)
    yield from large_studies.measured(FOLDER / "studies")


def _profiled() -> list[Cell]:
    """The quick cells, and where the hardware has bfloat16 the same in that."""
    halves = [replace(cell, precision="bfloat16") for cell in QUICK] if has_bfloat16(torch.device("cpu")) else []
    return [*QUICK, *halves]


def _line(measure: Measure) -> str:
    return f"{measure.section}: {measure.name}: {_value(measure)} (required {_required(measure)}) {measure.verdict}"


def _table(measures: list[Measure]) -> Table:
    table = Table("what", "value", "required", "", "beside")
    for measure in measures:
        verdict = f"[red]{measure.verdict}[/red]" if measure.verdict == "missed" else measure.verdict
        table.add_row(
            f"{measure.section}: {measure.name}", _value(measure), _required(measure), verdict, measure.note or measure.reference
        )
    return table


def _value(measure: Measure) -> str:
    return "-" if measure.value is None else f"{measure.value:.3g} {measure.unit}"


def _required(measure: Measure) -> str:
    if measure.required is None:
        return "-"
    return f"{'≥' if measure.better == 'more' else '≤'} {measure.required:g} {measure.unit}"


if __name__ == "__main__":
    main()
