"""What every section of the configuration is made of: a frozen model that refuses unknown keys, and numbers with their bounds."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ptycho_torch.atomic_files import sha256_json

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
PatchSize = Literal[32, 64, 128, 256]


class Strict(BaseModel):
    """A frozen section that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    def sha256(self) -> str:
        """The digest of every field, as canonical JSON."""
        return sha256_json(self.model_dump(mode="json"))
