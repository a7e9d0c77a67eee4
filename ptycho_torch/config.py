"""The typed configuration: frozen, checked once at birth, unknown keys refused. Imports no torch.

A study's YAML is made of these sections; what one dataset, one view and one job need is cut from them:

    DatasetRecipe   all that decides the files of Phase C at one dose
    ViewRecipe      all that decides the files of Phase D for one view of one dataset
    JobConfig       all that decides the weights of one network
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ptycho_torch.atomic_files import sha256_json
from ptycho_torch.errors import ConfigError, PtychoError, ViewUnavailableError

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
    "sha256_json",
]

ARCHITECTURES = ("backprojection_unet", "canvas_unet", "ptychopinn")

EXECUTION_FIELDS = frozenset({"device", "threads"})
"""Fields of `TrainingConfig` that say how to run and not what to learn: no part of a job's identity."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
PatchSize = Literal[32, 64, 128, 256]


class Strict(BaseModel):
    """A frozen section that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def sha256(self) -> str:
        """The digest of every field, as canonical JSON."""
        return sha256_json(self.model_dump(mode="json"))


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

    axis: Literal["y", "x"] = "y"
    """The halves lie one after the other along this axis."""
    guard_band_px: NonNegative | None = None
    """Positions nearer than this to the split line are dropped [px]; null means half a patch, which keeps every object pixel
    under a test pattern out of the training half."""


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


Widths = Annotated[tuple[Count, ...], Field(min_length=2, max_length=5)]


class RefinerConfig(Strict):
    """The second network: on the whole canvas it sees the first one's object, and those that data-consistency steps pass through
    on their way from a flat object, and blends and mends them. It learns when the first has learnt."""

    descent_shares: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.1, 0.3, 0.7, 1.5)
    """Where on the way objects are shown, as shares of the number of steps that held-out photons of the training half call for:
    fewer steps leave blur, more leave noise."""
    most_steps: Count = 40
    """That number is at most this."""
    sees_network: bool = True
    """False keeps the first network's object from it."""
    unet_widths: Widths = (16, 32, 48)
    """Channels of each level."""
    epochs: Count = 16
    """Of ten steps each."""
    batch_size: Count = 96
    """Patterns on which a step's loss is scored."""
    learning_rate: Positive = 3e-3
    """The highest rate, in learning and in adaptation."""
    photon_split: Annotated[float, Field(gt=0, lt=1)] = 0.75
    """Share of the photons that the refiner is fed while it learns."""
    exposures: Count = 4
    """How many such splits it learns from; each costs a descent."""
    adaptation_epochs: Annotated[int, Field(ge=0)] = 16
    """For so many epochs it goes on learning on the very scan that is reconstructed, which needs no truth; 0: not at all."""


class TrainingConfig(Strict):
    """What a network is and how it learns."""

    architecture: Literal["backprojection_unet", "canvas_unet", "ptychopinn"] = "backprojection_unet"
    """`backprojection_unet` sees a group of patterns at a time, `canvas_unet` the whole scan at once, both back-projected;
    `ptychopinn` sees the diffraction patterns of a group."""
    unet_widths: Widths = (16, 32, 48, 64)
    """Channels of each level of `backprojection_unet` and `canvas_unet`."""
    fuse_groups: bool = True
    """`backprojection_unet` adds up the back-projections of a group on one canvas before it looks; false shows it each alone, and
    averages what it makes of them."""
    augment: bool = True
    """Each step turns and mirrors what a U-Net sees in one of eight ways."""
    head_gain: Positive = 0.05
    """Factor on the last layer's first weights: small, so that training starts at O = 1."""
    n_filters_scale: Annotated[int, Field(ge=1, le=8)] = 2
    """Width factor of `ptychopinn`."""
    epochs: Count = 50
    """Of the network; the refiner's are its own."""
    batch_size: Count = 16
    """Patterns in a step (gridsize 2: a quarter as many groups); `canvas_unet`: those on which its loss is scored."""
    learning_rate: Positive = 2e-3
    """The highest rate, reached after the warm-up; a cosine then takes it down to a fiftieth."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """What the rate does after the warm-up; `constant` stays at the highest."""
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of all steps over which the rate rises from zero."""
    weight_decay: NonNegative = 1e-4
    """AdamW's."""
    gradient_clip_norm: Positive = 1.0
    """The gradient of a step is scaled down to at most this norm."""
    photon_split: Annotated[float, Field(gt=0, lt=1)] | None = 0.8
    """Share of each pattern's photons, drawn anew each time, that the network is fed; the loss is scored on the others. Null
    feeds all and scores on the same."""
    refiner: RefinerConfig | None = RefinerConfig()
    """Null trains no second network; refinement is then data-consistency steps alone."""
    validation_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.125
    """Share of the training half, a strip at its far end, kept for choosing the best weights."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the convolutions; `bfloat16` halves the time on a CPU with AMX or a GPU with tensor cores. Physics and the last layer of
    a U-Net stay in float32."""
    deterministic: bool = True
    """The same seed gives the same bytes on the same machine, device and number of threads."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """`auto` takes a GPU where there is one, and says so where one was asked for and is absent; `cuda` then fails."""
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    """CPU threads of one job."""

    @property
    def total_epochs(self) -> int:
        """Epochs of the network and of its refiner."""
        return self.epochs + (0 if self.refiner is None else self.refiner.epochs)


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
