"""The network. It knows nothing of identities, targets, memories or files."""

from tfsasm.model.motrv2 import ModelConfig, MOTRv2, denoising_mask
from tfsasm.model.transformer import Features, Prediction, Queries

__all__ = ["Features", "MOTRv2", "ModelConfig", "Prediction", "Queries", "denoising_mask"]
