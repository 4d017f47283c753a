"""The network. It knows nothing of identities, targets, memories or files."""



from tfsasm.motrv2.config import ModelConfig
from tfsasm.motrv2.model import MOTRv2, denoising_mask
from tfsasm.motrv2.transformer import Features, Prediction, Queries

__all__ = ["Features", "MOTRv2", "ModelConfig", "Prediction", "Queries", "denoising_mask"]
