"""One image explained from one forward pass: top classes, logit by layer, class activation and feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from analysis.prediction.image_files import PreparedImage
from analysis.prediction.lens import PooledParts, pool_final_maps
from analysis.prediction.logits import check_classes
from analysis.prediction.predictor import BIAS, FinalMaps, NetworkLike, as_predictor, record_outputs
from analysis.reuse.effects import batches_on_device
from densenet_core.data.images import Images
from densenet_core.training.evaluation import check_fit

NUM_TOP = 5  # classes that are listed


@dataclass(frozen=True)
class Explanation:
    """The prediction for one image, and what each layer adds to it."""

    title: str  # the class, or "cat, not dog"
    for_class: int
    against: int | None
    logit: float  # of the class, or the difference of two
    probability: float  # of the class
    top: tuple[tuple[str, float], ...]  # the most probable classes and their probabilities
    seen: PreparedImage
    table: pd.DataFrame  # source_layer and contribution; the bias first
    maps: Tensor  # (sources, h, w): the class activation map by layer
    parts: PooledParts  # the pooled input of the classifier, for the layer lens
    source_maps: tuple[Tensor, ...]  # (C_s, h, w) of each source of a DenseNet's last block, else empty

    def summary(self) -> dict[str, object]:
        """Return the numbers for JSON."""
        parts = dict(zip(self.table["source_layer"].tolist(), self.table["contribution"].tolist(), strict=True))
        return {
            "class": self.title,
            "logit": self.logit,
            "probability": self.probability,
            "top": [{"class": name, "probability": p} for name, p in self.top],
            "contributions": {"bias" if source == BIAS else str(source): part for source, part in parts.items()},
        }


def explain_image(
    network: NetworkLike,
    seen: PreparedImage,
    names: Sequence[str],
    for_class: int | None = None,
    against: int | None = None,
) -> Explanation:
    """Return the prediction for one image and what each layer adds to it, from one forward pass.

    >>> from PIL import Image
    >>> from densenet_core import load_zoo
    >>> from analysis.prediction.image_files import class_names, prepare_image
    >>> network = load_zoo("densenet-40-12-digits")
    >>> found = explain_image(network, prepare_image(Image.new("RGB", (8, 8)), network), class_names(network))
    >>> len(found.table)  # the bias and sources 0 to 12
    14

    Args:
        seen: From ``prepare_image``.
        names: The names of the classes.
        for_class: The class to explain, by default the predicted one.
        against: Explain the logit of ``for_class`` minus the logit of this class.

    Raises:
        CheckpointError: The network has no logit by layer.
        DataError: The network does not predict one of the classes.
    """
    predictor = as_predictor(network)
    check_classes([number for number in (for_class, against) if number is not None], predictor.spec.num_classes)
    with torch.inference_mode(), record_outputs(predictor.model, predictor.last_block()) as outputs:
        final = predictor.final_maps(seen.images)
        parts = torch.cat((final.bias[:, None], final.contributions()), dim=1)[0]  # (1 + sources, classes)
        probabilities = parts.sum(0).softmax(0)
        chosen = int(probabilities.argmax()) if for_class is None else for_class
        own = parts[:, chosen] - (0 if against is None else parts[:, against])
        maps = _maps(final, chosen, against)
    first = probabilities.topk(min(NUM_TOP, len(names)))
    return Explanation(
        names[chosen] if against is None else f"{names[chosen]}, not {names[against]}",
        chosen,
        against,
        float(own.sum()),
        float(probabilities[chosen]),
        tuple((names[int(i)], float(p)) for p, i in zip(first.values, first.indices, strict=True)),
        seen,
        pd.DataFrame({"source_layer": range(BIAS, len(own) + BIAS), "contribution": own.cpu().numpy()}),
        maps.cpu(),
        pool_final_maps(final),
        predictor.split_block(*outputs.values()) if outputs else (),
    )


def _maps(final: FinalMaps, for_class: int, against: int | None) -> Tensor:
    """Return the class activation map by source: (sources, *spatial)."""
    found = []
    for maps, weight in zip(final.maps, final.weights, strict=True):
        own = weight[for_class] - (0 if against is None else weight[against])
        found.append(torch.einsum("nc...,c->n...", maps, own)[0])
    return torch.stack(found)


def predicted_classes(network: NetworkLike, images: Images, batch_size: int = 64) -> pd.DataFrame:
    """Return the predicted class of every image of a data set and its probability.

    Returns:
        Columns row, label, predicted and probability (of the predicted class).

    Raises:
        DataError: The images do not fit the network.
    """
    predictor = as_predictor(network)
    check_fit(predictor.spec, images)
    found = []
    with torch.inference_mode():
        for batch, labels in batches_on_device(images, batch_size):
            probability, predicted = predictor.scores(batch).softmax(1).max(1)
            columns = {"label": labels, "predicted": predicted, "probability": probability}
            found.append(pd.DataFrame({name: values.cpu().numpy() for name, values in columns.items()}))
    return pd.concat(found, ignore_index=True).rename_axis("row").reset_index()
