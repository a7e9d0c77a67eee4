"""A study with the digests of its base files, and what follows from it: its variants and its jobs."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol

from fly64_hpc.job_matrix import TrainingJob, job_matrix
from fly64_hpc.study import StudyDesign
from fly64_hpc.variants import Variant, Variants


class ResolvedStudy(Protocol):
    """A study with the digests of its base files, freshly loaded or as its directory holds it."""

    @property
    def design(self) -> StudyDesign:
        """The study outside its sweep."""

    @property
    def base_sha256(self) -> str | None:
        """The digest of the file that its base names, where no sweep names others."""

    @property
    def swept_base_sha256(self) -> Mapping[str, str]:
        """The digest of each base file that its sweep names."""

    @property
    def sha256(self) -> str:
        """The study's digest."""

    @property
    def plain_seed(self) -> int | None:
        """Of several training seeds the one with which the study began, alone: ids and folders do not name it."""

    @property
    def jobs(self) -> tuple[TrainingJob, ...]:
        """Every job."""

    def of(self, job: TrainingJob) -> Variant:
        """The study as it is in force in one of its jobs: whoever needs a job's design asks here."""


class Expanded:
    """What follows from a study, made once: its variants and its jobs."""

    design: StudyDesign
    base_sha256: str | None
    swept_base_sha256: Mapping[str, str]
    plain_seed: int | None

    @cached_property
    def _variants(self) -> Variants:
        return Variants(self.design, self.base_sha256, self.swept_base_sha256)

    @cached_property
    def jobs(self) -> tuple[TrainingJob, ...]:
        """Every job."""
        return job_matrix(self.design, self.plain_seed, self._variants)

    def of(self, job: TrainingJob) -> Variant:
        """The study as it is in force in one of its jobs."""
        return self._variants.of(job.sweep)

    def own_identity(self) -> dict[str, Any]:
        """What makes the study this one, as this program sees it."""
        return self.design.identity(self.base_sha256, self.swept_base_sha256)

    def scan_identity(self) -> dict[str, Any]:
        """What decides its scans alone."""
        return self.design.scan_identity(self.base_sha256, self.swept_base_sha256)
