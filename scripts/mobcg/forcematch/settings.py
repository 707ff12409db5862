"""What can be set of the many-body models and of their training; plain values, so that JSON holds them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mobcg.config import Positive, PositiveInt, Section

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class Settings(Section):
    """What all many-body models have: a prior, a cutoff, and a training."""

    cutoff_nm: Positive = Field(0.8, description="no beads further apart feel each other")
    sigma_nm: Positive = Field(0.5, description="σ of the prior Σ ε (σ/r)^n")
    power: Annotated[float, Field(ge=1, le=24)] = Field(7, description="n of the prior")
    epsilon_kj_mol: Positive = Field(4.184, description="ε of the prior; that of Σ (σ/r)^n in kcal/mol is 4.184")
    bond_length_nm: Positive | None = Field(None, description="of the bonds in a molecule; null: from the data")
    bond_kj_mol_nm2: Positive | None = Field(
        None, description="k of the bond energy k/2 (r − r0)²; null: from the data"
    )
    energy_weight: NotNegative = Field(0.1, description="λ: weight of the energy's error beside the force's")
    epochs: PositiveInt = 100
    patience: PositiveInt = Field(15, description="epochs without a better validation force before training ends")
    batch_frames: PositiveInt = Field(4, description="frames from which one step of training is taken")
    learning_rate: Positive = 1e-3
    last_learning_rate: Positive = Field(1e-5, description="the rate falls to it by the same factor every epoch")
    precision: Literal["float32", "float64"] = "float32"

    @model_validator(mode="after")
    def _enough_frames_for_energies(self) -> Settings:
        if self.energy_weight > 0 and self.batch_frames < 2:
            raise ValueError("an energy_weight above 0 needs batch_frames of 2 and more: energies have no zero")
        return self


class SchNetSettings(Settings):
    """SchNet; the published sizes are features 120 or 240, filters 128 or 256, 1 to 6 blocks."""

    blocks: PositiveInt = Field(2, description="interaction blocks between molecules")
    intra_blocks: Count = Field(0, description="blocks of a second network within molecules; 0: the bonds alone")
    features: PositiveInt = 64
    filters: PositiveInt = 64
    gaussians: Annotated[int, Field(ge=2)] = Field(32, description="Gaussians that a distance is spread over")
    activation: Literal["softplus", "tanh"] = Field("softplus", description="softplus is shifted to be 0 at 0")


class HipnnSettings(Settings):
    """HIP-NN-TS; the published size is 128 features, 20 sensitivities of 0.2 to 1.3 nm, cutoff 1.5 nm."""

    cutoff_nm: Positive = Field(1.0, description="no beads further apart feel each other")
    blocks: PositiveInt = Field(1, description="interaction layers")
    features: PositiveInt = 32
    sensitivities: Annotated[int, Field(ge=2)] = 16
    soft_min_nm: Positive = Field(0.25, description="midpoint of the first sensitivity: below first contact")
    soft_max_nm: Positive = Field(0.9, description="midpoint of the last sensitivity: below the cutoff")
    atom_layers: Count = 3
    order: Literal[1, 2] = Field(2, description="1: vectors (HipnnVec), 2: vectors and quadrupoles (HipnnQuad)")
    activation: Literal["softplus", "tanh"] = "softplus"

    @model_validator(mode="after")
    def _ranges_in_order(self) -> HipnnSettings:
        if not self.soft_min_nm < self.soft_max_nm <= self.cutoff_nm:
            raise ValueError("soft_min_nm < soft_max_nm <= cutoff_nm is needed")
        return self


SETTINGS: dict[str, type[Settings]] = {"schnet": SchNetSettings, "hipnn": HipnnSettings}
