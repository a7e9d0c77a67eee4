"""Writes the tables of README.md and docs/recipe.md from what `evaluate` and `compare` found: `make recipe-tables`.

Phase error [rad] / complex NMSE of the unseen half; over several seeds the median and, in brackets, the least and the most.
"""

import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from marked_tables import filled
from recipe_studies import ABLATION

END = "<!-- end of the table -->"
SOLVERS = ("flat", "lsqml", "lsqml_poisson", "gradient")


def conditions(study_dir: Path) -> str:
    """Every condition of a study: solvers, the network alone, refined."""
    solvers = _solver_rows(study_dir / "comparison" / "comparison.csv")
    lines = [_headings("photons", "view", "flat", "LSQML", "LSQML Poisson", "gradient", "network alone", "refined")]
    for (dose, view), evaluations in sorted(_evaluations(study_dir).items()):
        others = [_alone(solvers.get((dose, view, name))) for name in SOLVERS]
        lines.append(_row(f"{dose:g}", view, *others, *(_figures(evaluations, method) for method in ("network", "refined"))))
    return "\n".join(lines)


def variations(folders: dict[str, Path]) -> str:
    """One line a study, or for each of its conditions: network alone and refined."""
    lines = [_headings("what", "photons", "view", "gradient", "network alone", "refined", "steps", "training [s]")]
    for words, folder in folders.items():
        solvers = _solver_rows(folder / "comparison" / "comparison.csv")
        for (dose, view), evaluations in sorted(_evaluations(folder).items()):
            steps = " ".join(str(one["halves"]["test"]["methods"]["refined"]["steps"]) for one in evaluations)
            figures = (_figures(evaluations, method) for method in ("network", "refined"))
            gradient = _alone(solvers.get((dose, view, "gradient")))
            lines.append(_row(words, f"{dose:g}", view, gradient, *figures, steps, f"{_training_s(folder, dose, view):.0f}"))
    return "\n".join(lines)


def _headings(*names: str) -> str:
    return _row(*names) + "\n|" + " --- |" * len(names)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _evaluations(study_dir: Path) -> dict[tuple[float, str], list[dict[str, Any]]]:
    """By dose and view, one evaluation a seed."""
    found: dict[tuple[float, str], list[dict[str, Any]]] = {}
    for file in sorted(study_dir.glob("evaluation/dose_*/**/evaluation.json")):
        dose, view = file.relative_to(study_dir / "evaluation").parts[:2]
        found.setdefault((float(dose.removeprefix("dose_")), view), []).append(json.loads(file.read_text()))
    return found


def _figures(evaluations: Iterable[dict[str, Any]], method: str) -> str:
    scores = [one["halves"]["test"]["methods"][method]["scores"] for one in evaluations]
    flat = sum(one["collapse_reason"] is not None for one in scores)
    words = f"{_spread([s['phase_mae_rad'] for s in scores], 3)} / {_spread([s['nmse'] for s in scores], 4)}"
    return words + (f" ({flat} of {len(scores)} flat)" if flat else "")


def _spread(values: list[float], digits: int) -> str:
    middle = f"{median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def _solver_rows(file: Path) -> dict[tuple[float, str, str], dict[str, str]]:
    rows = csv.DictReader(file.read_text().splitlines()) if file.exists() else []
    return {(float(row["dose_photons"]), row["view"], row["method"]): row for row in rows if row["half"] == "unseen"}


def _alone(row: dict[str, str] | None) -> str:
    return f"{float(row['phase_mae_rad']):.3f} / {float(row['nmse']):.4f}" if row is not None and row["nmse"] else ""


def _training_s(study_dir: Path, dose: float, view: str) -> float:
    """The median over the seeds of all steps' seconds."""
    files = study_dir.glob(f"phase_e_training/dose_{dose:.0f}/{view}/**/history.jsonl")
    return median(sum(json.loads(line)["seconds"] for line in file.read_text().splitlines()) for file in files)


def put(page: Path, name: str, table: str) -> None:
    """Put a table between its marks in a page, where it has them."""
    mark = f"<!-- table of {name}: made by docs/recipe_tables.py -->"
    page.write_text(filled(page.read_text(), mark, END, table))


def main(outputs: Path) -> None:
    """Write every table whose study is there; say which is not."""
    recipe, page = outputs / "recipe", Path("docs/recipe.md")
    ablation = {words: recipe / f"ablation/{number:02d}/siemens_star" for number, words in enumerate(ABLATION)}
    objects = {words: recipe / f"objects/{name}/siemens_star" for name, words in OBJECTS.items()}
    probes = {words: recipe / f"{name}/siemens_star" for name, words in PROBES.items()}
    others = {words: recipe / f"{name}/siemens_star" for name, words in OTHERS.items()}
    for name, folders in {"ablation": ablation, "objects": objects, "probes": probes, "others": others}.items():
        there = {words: folder for words, folder in folders.items() if folder.exists()}
        print(f"{name}: {len(there)} of {len(folders)} studies are there")  # noqa: T201
        if there:
            put(page, name, variations(there))
    for place, name, folder in ((page, "canvas", recipe / "canvas"), (Path("README.md"), "conditions", outputs)):
        if (folder / "siemens_star").exists():
            put(place, name, conditions(folder / "siemens_star"))


OBJECTS = {"weak_contrast": "weak contrast", "random_edges": "sharp random edges", "zone_plate": "another probe (zone plate)"}
PROBES = {"right_probe": "right probe", "magnified": "magnified by a tenth", "defocused": "defocused until a tenth wider"}
OTHERS = {"n128": "N = 128", "ptychopinn_64": "ptychopinn, N = 64", "ptychopinn_128": "ptychopinn, N = 128"}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
