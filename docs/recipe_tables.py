"""Writes the tables of README.md and docs/recipe.md from manifests and comparisons: `make recipe-tables`.

Phase error [rad] / complex NMSE of the unseen half; over several seeds the median and, in brackets, the least and the most.
"""

import csv
import json
import sys
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
    for (dose, view), results in _results(study_dir / "training_manifest.json").items():
        others = [_alone(solvers.get((dose, view, name))) for name in SOLVERS]
        networks = _figures([one["metrics"] for one in results]), _figures(_refined(study_dir, dose, view, results))
        lines.append(_row(f"{dose:g}", view, *others, *networks))
    return "\n".join(lines)


def variations(folders: dict[str, Path]) -> str:
    """One line a study, or for each of its conditions: network alone and refined."""
    lines = [_headings("what", "photons", "view", "gradient", "network alone", "refined")]
    for words, folder in folders.items():
        gradients = _results(folder / "phase_f_iterative" / "iterative_manifest.json")
        for (dose, view), results in _results(folder / "training_manifest.json").items():
            gradient = [
                one["metrics"]["halves"]["test"]["methods"]["solver"]["scores"] for one in gradients.get((dose, view), [])
            ]
            scores = (gradient, [one["metrics"] for one in results], _refined(folder, dose, view, results))
            lines.append(_row(words, f"{dose:g}", view, *map(_figures, scores)))
    return "\n".join(lines)


def _headings(*names: str) -> str:
    return _row(*names) + "\n|" + " --- |" * len(names)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _results(manifest: Path) -> dict[tuple[float, str], list[dict[str, Any]]]:
    """By dose and view, what came out of the jobs that succeeded: one result a seed."""
    found: dict[tuple[float, str], list[dict[str, Any]]] = {}
    for job in json.loads(manifest.read_text())["jobs"] if manifest.exists() else []:
        if job["state"] == "succeeded":
            found.setdefault((job["dose"], job["view"]), []).append(job["result"])
    return dict(sorted(found.items()))


def _refined(study_dir: Path, dose: float, view: str, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The scores of refined networks; where there is no refiner, those after the steps alone, if `evaluate` has made them."""
    own = [one["metrics"]["refined"] for one in results if "refined" in one["metrics"]]
    files = sorted(study_dir.glob(f"evaluation/dose_{dose:.0f}/{view}/**/evaluation.json"))
    return own or [json.loads(file.read_text())["halves"]["test"]["methods"]["refined"]["scores"] for file in files]


def _figures(scores: list[dict[str, Any]]) -> str:
    if not scores:
        return ""
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
    canvas = {"canvas_unet": recipe / "canvas/siemens_star"}
    tables = {"ablation": ablation, "objects": objects, "probes": probes, "canvas": canvas, "others": others}
    for name, folders in tables.items():
        there = {words: folder for words, folder in folders.items() if folder.exists()}
        print(f"{name}: {len(there)} of {len(folders)} studies are there")  # noqa: T201
        if there:
            put(page, name, variations(there))
    if (outputs / "siemens_star").exists():
        put(Path("README.md"), "conditions", conditions(outputs / "siemens_star"))


OBJECTS = {"weak_contrast": "weak contrast", "random_edges": "sharp random edges", "zone_plate": "another probe (zone plate)"}
PROBES = {"right_probe": "right probe", "magnified": "magnified by a tenth", "defocused": "defocused until a tenth wider"}
OTHERS = {"n128": "N = 128", "ptychopinn_64": "ptychopinn, N = 64", "ptychopinn_128": "ptychopinn, N = 128"}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
