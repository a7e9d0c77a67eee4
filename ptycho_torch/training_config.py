"""How networks learn: the section `training` of a study."""

from typing import Annotated, Literal

from pydantic import Field

from ptycho_torch.strict_model import Count, NonNegative, Positive, Strict

ARCHITECTURES = ("backprojection_unet", "canvas_unet", "ptychopinn")

EXECUTION_FIELDS = frozenset({"device", "threads", "tensorboard"})
"""Fields of `TrainingConfig` that say how to run and not what to learn: no part of a job's identity."""

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
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the convolutions; `bfloat16` halves the time on a CPU with AMX or AVX-512 BF16 or a GPU with tensor cores, and takes ten
    times as long on a CPU without; `auto` takes it where the hardware has it. Physics and the last layer of a U-Net stay in
    float32."""
    deterministic: bool = True
    """The same seed gives the same bytes on the same machine, device and number of threads."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """`auto` takes a GPU where there is one, and says so where one was asked for and is absent; `cuda` then fails."""
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    """CPU threads of one job."""
    tensorboard: bool = False
    """Writes each epoch's scalars for TensorBoard too, into `tensorboard/` of the job's folder; needs the package tensorboard."""

    @property
    def total_epochs(self) -> int:
        """Epochs of the network and of its refiner."""
        return self.epochs + (0 if self.refiner is None else self.refiner.epochs)
