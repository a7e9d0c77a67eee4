"""The typed configuration: frozen, checked once at birth, unknown keys refused. Imports no torch and no numpy; whole files
are written and digested through here by who needs no arrays.

A study's YAML is made of these sections; what one dataset, one view and one job need is cut from them:

    DatasetRecipe   all that decides the files of Phase C at one dose
    ViewRecipe      all that decides the files of Phase D for one view of one dataset
    JobConfig       all that decides the weights of one network
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ptycho_torch.atomic_files import replacing, sha256_file, sha256_json, write_json, write_text
from ptycho_torch.errors import ConfigError, PtychoError, ViewUnavailableError
from ptycho_torch.strict_model import Count, NonNegative, PatchSize, Positive, Seed, Strict
from ptycho_torch.training_config import ARCHITECTURES, EXECUTION_FIELDS, RefinerConfig, TrainingConfig

__all__ = [
    "ARCHITECTURES",
    "EXECUTION_FIELDS",
    "BaseConfig",
    "ConfigError",
    "DatasetRecipe",
    "DesignConfig",
    "IterativeConfig",
    "JobConfig",
    "ProceduralBase",
    "PtychoError",
    "RefinerConfig",
    "ScanConfig",
    "SeedsConfig",
    "SolverConfig",
    "SolverJobConfig",
    "SplitConfig",
    "Strict",
    "TrainingConfig",
    "ViewConfig",
    "ViewRecipe",
    "ViewUnavailableError",
    "replacing",
    "sha256_file",
    "sha256_json",
    "write_json",
    "write_text",
]


class ProceduralBase(Strict):
    """An object and a probe that are computed."""

    object: Literal["siemens_star", "weak_contrast", "random_edges"] = "siemens_star"
    """Siemens star; smooth weak contrast (a Gaussian random field); sharp random edges (overlapping discs)."""
    size: tuple[Annotated[int, Field(ge=96, multiple_of=2)], Annotated[int, Field(ge=96, multiple_of=2)]] = (400, 400)
    """Object height and width [px]; even, because an odd canvas has no centre pixel."""
    probe: Literal["zone_plate"] = "zone_plate"
    """The defocused focus of an annular lens: curved phase and a ring of intensity."""
    seed: Seed = 7
    """Of the object, where chance draws it."""


class BaseConfig(Strict):
    """The object and probe that Phase C illuminates, or a measured scan: exactly one of the three."""

    npz: str | None = None
    """File with `objectGuess` and `probeGuess` (or `obj` and `probe`)."""
    procedural: ProceduralBase | None = None
    """An object and a probe that are computed."""
    measured: str | None = None
    """A DATA-001 file of a measured scan: it is split, and thinned to each dose, instead of simulated."""
    reduction: Literal["bin", "crop"] = "bin"
    """How a probe larger than the patch becomes as small: `bin` averages object and probe over whole blocks of pixels,
    `crop` keeps the probe's centre."""

    @model_validator(mode="after")
    def _exactly_one_source(self) -> Self:
        given = [name for name in ("npz", "procedural", "measured") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of npz, procedural and measured; got {', '.join(given) or 'none'}")
        return self


class ScanConfig(Strict):
    """Where the beam goes. A measured scan brings its own positions and ignores this section."""

    pattern: Literal["jittered_raster", "uniform_random"] = "jittered_raster"
    """A raster whose points are displaced by chance, or points anywhere."""
    positions: Annotated[int, Field(ge=8)] = 2048
    """Scan positions, both halves together; none is laid inside the guard band."""
    step_px: Positive | None = None
    """Raster step [px]; null spreads the positions evenly over the object."""
    jitter_px: NonNegative = 1.0
    """Largest displacement from the raster, along each axis [px]."""


class ViewConfig(Strict):
    """One way of looking at the scan: how many of its patterns, grouped how."""

    gridsize: Annotated[int, Field(ge=1, le=4)]
    """A group has gridsize² patterns."""
    image_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The share of each half's patterns that the view keeps."""
    groups: Count | None = None
    """Groups drawn each epoch; null means one for every gridsize² patterns. More groups than patterns is oversampling and needs
    neighbor_count > gridsize²."""
    nominal_overlap: Annotated[float, Field(ge=0, lt=1)] | None = None
    """The overlap that the view is named for; a diagnostic beside the measured one."""

    @property
    def group_size(self) -> int:
        """Patterns in a group, C = gridsize²."""
        return self.gridsize**2


class SplitConfig(Strict):
    """How the scan becomes a training half and a test half."""

    axis: Literal["y", "x", "time"] = "y"
    """The halves lie one after the other along this axis. `time`: the patterns measured first train, those after them test, in
    the order of `scan_index` where the file has it, else of its rows. Both halves may then see the same place of the object: it
    is a test of later data, not of another part of the sample, unless a guard band keeps the places apart."""
    guard_band_px: NonNegative | None = None
    """Positions nearer than this to the split line are dropped [px]; null means half a patch, which keeps every object pixel
    under a test pattern out of the training half. With `time`, test positions are dropped that lie nearer than this, along both
    axes, to any training position; null means none, and a whole patch keeps every pixel out."""


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) != len(seeds):
        raise ValueError("the same seed stands twice; each names a folder of its own")
    return seeds


class SeedsConfig(Strict):
    """One seed for each thing that is drawn."""

    simulation: Seed = 42
    """Of positions and photons."""
    grouping: Seed = 123
    """Of the groups."""
    subsampling: Seed = 456
    """Of the patterns that a view keeps."""
    training: Seed | Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_distinct)] = 0
    """One seed, or several: then each job is trained once for each."""


def _fly64_views() -> dict[str, ViewConfig]:
    return {
        "baseline": ViewConfig(gridsize=1, nominal_overlap=None),
        "dense": ViewConfig(gridsize=2, nominal_overlap=0.7),
        "sparse": ViewConfig(gridsize=2, image_fraction=0.0625, groups=256, nominal_overlap=0.2),
    }


ViewName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class DesignConfig(Strict):
    """The axes of the study. The defaults are the constants of fly64."""

    doses_photons: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1e3, 1e4, 1e5)
    """Mean photons per frame."""
    patch_size_px: PatchSize = 128
    """N, the side of a pattern and of its object patch [px]."""
    neighbor_count: Count = 7
    """K, the nearest neighbours that a group is drawn from; at least gridsize² (OVERSAMPLING-001)."""
    probe_diameter_px: Positive | None = None
    """Diameter of the disc of the overlap metrics [px]; null means 0.6 N."""
    views: Annotated[dict[ViewName, ViewConfig], Field(min_length=1)] = Field(default_factory=_fly64_views)
    """Each a name and what it keeps and groups; left out, baseline, dense and sparse of fly64."""
    split: SplitConfig = SplitConfig()
    """How the scan becomes two halves."""
    seeds: SeedsConfig = SeedsConfig()
    """What decides all that is drawn."""

    @model_validator(mode="after")
    def _enough_neighbors(self) -> Self:
        for name, view in self.views.items():
            if view.gridsize > 1 and self.neighbor_count < view.group_size:
                raise ValueError(
                    f"neighbor_count is {self.neighbor_count}, but view {name} has gridsize {view.gridsize} and needs "
                    f"at least {view.group_size} (OVERSAMPLING-001)"
                )
        return self

    @model_validator(mode="after")
    def _distinct_doses(self) -> Self:
        labels = [round(dose) for dose in self.doses_photons]
        if len(set(labels)) != len(labels) or min(labels) < 1:
            raise ValueError("doses_photons must differ, and be at least 1, once rounded to whole photons: folders are named so")
        return self


SolverName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class SolverConfig(Strict):
    """One way of reconstructing a scan without a network, probe and positions known."""

    method: Literal["lsqml", "rpie", "epie", "gradient"]
    """`lsqml`, `rpie` and `epie` are pty-chi's; `gradient` is the full-batch Poisson gradient of `data_consistency`."""
    noise_model: Literal["gaussian", "poisson"] = "gaussian"
    """What `lsqml` takes the counts for; `gradient` is Poisson whatever stands here."""
    epochs: Count = 100
    """Passes over the scan. For `gradient` the most: held-out photons choose how many."""
    batch_size: Count = 96
    """Patterns in an update; `gradient` takes them all."""


def _usual_solvers() -> dict[str, SolverConfig]:
    return {
        "gradient": SolverConfig(method="gradient"),
        "lsqml": SolverConfig(method="lsqml"),
        "lsqml_poisson": SolverConfig(method="lsqml", noise_model="poisson", epochs=50, batch_size=1024),
        "rpie": SolverConfig(method="rpie"),
    }


class IterativeConfig(Strict):
    """Phase F: the solvers that the networks are compared with."""

    solvers: Annotated[dict[SolverName, SolverConfig], Field(min_length=1)] = Field(default_factory=_usual_solvers)
    """Each a name and a way; left out, gradient, lsqml, lsqml_poisson and rpie."""


class DatasetRecipe(Strict):
    """All that decides the files of Phase C at one dose."""

    base: BaseConfig
    base_sha256: str | None
    """The digest of the file that `base` names; null for a procedural base."""
    scan: ScanConfig
    split: SplitConfig
    dose_photons: Positive
    patch_size_px: PatchSize
    simulation_seed: Seed

    @property
    def guard_band_px(self) -> float:
        """The guard band in force [px]."""
        if self.split.axis == "time":
            return self.split.guard_band_px or 0.0
        return self.patch_size_px / 2 if self.split.guard_band_px is None else self.split.guard_band_px

    def sha256(self) -> str:
        """The digest of the recipe; a base file counts by its content, not by its place."""
        recipe = self.model_dump(mode="json")
        if self.base_sha256 is not None:
            recipe["base"] |= {"npz": None, "measured": None, "is_measured": self.base.measured is not None}
        return sha256_json(recipe)


class ViewRecipe(Strict):
    """All that decides the files of Phase D for one view of one dataset."""

    dataset: DatasetRecipe
    name: str
    view: ViewConfig
    neighbor_count: Count
    probe_diameter_px: Positive
    subsampling_seed: Seed
    grouping_seed: Seed

    def sha256(self) -> str:
        """The digest of the recipe, its dataset's included."""
        return sha256_json(self.model_dump(mode="json", exclude={"dataset"}) | {"dataset": self.dataset.sha256()})


class JobConfig(Strict):
    """All that decides the weights of one network."""

    job_id: str
    dose_photons: Positive
    view: str
    gridsize: Count
    groups: Count | None
    patch_size_px: PatchSize
    neighbor_count: Count
    grouping_seed: Seed
    training_seed: Seed
    data_recipe_sha256: str
    """The digest of the `ViewRecipe` (or of outside files) that the data come from."""
    training: TrainingConfig

    @property
    def group_size(self) -> int:
        """Patterns in a group, C = gridsize²."""
        return self.gridsize**2

    def identity(self) -> dict[str, Any]:
        """Every field but the execution settings."""
        return self.model_dump(mode="json", exclude={"training": set(EXECUTION_FIELDS)})

    def config_sha256(self) -> str:
        """The digest of the job's identity."""
        return sha256_json(self.identity())


class SolverJobConfig(Strict):
    """All that decides what one solver makes of one scan."""

    job_id: str
    dose_photons: Positive
    view: str
    patch_size_px: PatchSize
    data_recipe_sha256: str
    """As in `JobConfig`."""
    solver: SolverConfig
    seed: Seed
    """Of the order in which patterns are taken."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: Annotated[int, Field(ge=1, le=256)] = 2

    def identity(self) -> dict[str, Any]:
        """Every field but the execution settings."""
        return self.model_dump(mode="json", exclude=set(EXECUTION_FIELDS))

    def config_sha256(self) -> str:
        """The digest of the job's identity."""
        return sha256_json(self.identity())
