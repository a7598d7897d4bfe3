"""Whether a photo is like the training photos, by the distance of its image features."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.errors import CheckpointError, DataError
from model.network.network import EncodedPhoto

FAMILIARITY = "familiarity.safetensors"
# Share of the mean variance that is added to each: directions in which the training photos hardly
# vary must not decide alone, and fewer photos than dimensions have an inverse covariance too.
RIDGE = 0.01


def pool_features(image_features: Tensor) -> Tensor:
    """Image features (..., S, width) as one vector of length 1 a photo (..., width), in float32.

    It is the class token, which separated Flickr8k from photos of other things better than the
    mean or the maximum over the patches; so did a length of 1 (Mueller and Hein 2025,
    "Mahalanobis++"). The measurements are in training/RESULTS.md.
    """
    return torch.nn.functional.normalize(image_features[..., 0, :].float(), dim=-1)


@dataclass
class Familiarity:
    """How far a photo is from the training photos: the Mahalanobis distance (Lee et al. 2018, "A
    Simple Unified Framework for Detecting Out-of-Distribution Samples"), with a threshold.

    With the pooled features x, their mean μ and (ridged) covariance Σ over the training photos,
    distance = √((x − μ)ᵀ Σ⁻¹ (x − μ)) = |W (x − μ)|, where WᵀW = Σ⁻¹.

    Attributes:
        mean: μ (width,).
        whitening: W (width, width).
        threshold: () photos farther than this are unlike the training photos.
    """

    mean: Tensor
    whitening: Tensor
    threshold: Tensor

    @classmethod
    def fit(cls, train: Tensor, dev: Tensor, share: float = 0.01) -> "Familiarity":
        """From the pooled features (photos, width) of the training photos, and of others from the
        same source, of which this share is to be above the threshold.

        Raises DataError when the training photos do not differ.
        """
        if (train == train[0]).all():
            raise DataError("the training photos are all the same")
        train = train.double()
        mean, eye = train.mean(dim=0), torch.eye(train.shape[1], dtype=train.dtype)
        covariance = (train - mean).T @ (train - mean) / len(train)
        covariance += RIDGE * covariance.diagonal().mean() * eye
        factor = torch.linalg.cholesky(covariance)
        whitening = torch.linalg.solve_triangular(factor, eye, upper=False)
        fitted = cls(mean.float(), whitening.float(), torch.tensor(torch.inf))
        fitted.threshold = fitted.compute_distances(dev).quantile(1 - share)
        return fitted

    def compute_distances(self, pooled_features: Tensor) -> Tensor:
        """Pooled features (photos, width) -> distances (photos,)."""
        return torch.linalg.vector_norm((pooled_features - self.mean) @ self.whitening.T, dim=1)

    def compute_distance(self, photo: EncodedPhoto) -> float:
        """The distance of one photo."""
        return self.compute_distances(pool_features(photo.image_features)[None].cpu()).item()

    def is_unfamiliar(self, photo: EncodedPhoto) -> bool:
        """Whether a photo is unlike the training photos."""
        return self.compute_distance(photo) > self.threshold.item()

    def save(self, folder: Path) -> None:
        save_file({n: t.contiguous() for n, t in vars(self).items()}, folder / FAMILIARITY)

    @classmethod
    def load(cls, folder: Path, width: int) -> "Familiarity | None":
        """What a checkpoint for features of this width holds; None if it holds nothing.

        Raises CheckpointError for a file that does not fit.
        """
        path = folder / FAMILIARITY
        if not path.exists():
            return None
        shapes = {"mean": (width,), "whitening": (width, width), "threshold": ()}
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise _make_error(path, f"cannot be read ({error})") from error
        for name, shape in shapes.items():
            if name not in tensors:
                raise _make_error(path, f"{name} is missing")
            if (actual := tuple(tensors[name].shape)) != shape:
                raise _make_error(path, f"{name} is {actual}, not {shape}")
            if not tensors[name].isfinite().all():
                raise _make_error(path, f"{name} is not finite")
        return cls(**{name: tensors[name].float() for name in shapes})


def _make_error(path: Path, problem: str) -> CheckpointError:
    advice = "delete it and run python -m training.familiarity again"
    return CheckpointError(f"{path}: {problem}; {advice}")
