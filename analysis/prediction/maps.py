"""Places in the image that speak for a class: class activation maps by layer, and Grad-CAM at any layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from analysis.prediction.logits import check_classes
from analysis.prediction.predictor import NetworkLike, Predictor, as_predictor, check_tensor, record_outputs
from densenet_core import DataError
from densenet_core.networks.densenet import DenseNet


def class_activation_maps(network: NetworkLike, images: Tensor, classes: Sequence[int] | None = None) -> Tensor:
    """Return the class activation map of every source layer; they sum to the map of the whole network.

    Class activation mapping (Zhou et al. 2016, section 2) is exact for such a network: the classifier reads averages
    over positions, so a logit is the average of a map. The average of a source layer's map is its contribution in
    ``logit_contributions``.

    >>> from densenet_core import load_zoo
    >>> maps = class_activation_maps(load_zoo("densenet-40-12-digits"), torch.zeros(1, 1, 8, 8), classes=[3])
    >>> maps.shape  # image, class, source layers 0 to 12, height, width
    torch.Size([1, 1, 13, 2, 2])

    Args:
        images: (N, C, H, W) normalized for the network, or (N, C, D, H, W).
        classes: class indices; by default all classes.

    Returns:
        ``(N, classes, sources, *spatial)`` in units of the logit, at the last block's resolution; without the bias.

    Raises:
        CheckpointError, DataError: as for ``logit_contributions``.
    """
    predictor = as_predictor(network)
    chosen = check_classes(classes, predictor.spec.num_classes)
    with torch.inference_mode():
        final = predictor.final_maps(images)
        found = [
            torch.einsum("nc...,kc->nk...", maps, weight[chosen])
            for maps, weight in zip(final.maps, final.weights, strict=True)
        ]
    return torch.stack(found, dim=2)


def grad_cam(network: NetworkLike, images: Tensor, layer: str, classes: Sequence[int]) -> Tensor:
    """Return Grad-CAM at the output of a layer (Selvaraju et al. 2017, equations 1 and 2).

    The sum of the layer's maps, each weighted by the gradient of the logit averaged over positions, with negative
    values set to 0. It is an estimate, exact only after the last block: there it is proportional to the class
    activation map.

    >>> from densenet_core import load_zoo
    >>> grad_cam(load_zoo("densenet-40-12-digits"), torch.zeros(1, 1, 8, 8), "features.denseblock2", [3]).shape
    torch.Size([1, 4, 4])

    Args:
        images: (N, C, H, W) normalized for the network.
        layer: a module of the network, such as "features.transition1" or "features.denseblock2.denselayer3";
            ``layer_names`` lists the usual ones.
        classes: the class of each image, N of them.

    Returns:
        ``(N, *spatial)`` at the layer's resolution, 0 or more, in units of gradient x activation.

    Raises:
        DataError: the network has no such layer, or the numbers of classes and images differ.
    """
    predictor = as_predictor(network)
    if len(classes) != len(images):
        raise DataError(f"classes has {len(classes)} entries for {len(images)} images: pass one for each image")
    chosen = check_classes(classes, predictor.spec.num_classes)
    maps, gradient = layer_gradient(predictor, images, layer, chosen)
    weights = gradient.flatten(2).mean(2)
    return torch.einsum("nc,nc...->n...", weights, maps).relu().detach()


def layer_gradient(predictor: Predictor, images: Tensor, layer: str, classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return a layer's output, and the gradient of each image's logit with respect to it: ``(N, C, *spatial)`` each.

    Raises:
        DataError: the network has no such layer, or its output has no feature maps.
    """
    check_tensor(images)
    if layer not in dict(predictor.model.named_modules()):
        raise DataError(f"layer {layer!r} is not in the network: it has {', '.join(layer_names(predictor))}")
    with torch.enable_grad(), record_outputs(predictor.model, [layer]) as outputs:
        scores = predictor.scores(images.detach().clone().requires_grad_())
        if layer not in outputs or outputs[layer].dim() < 3:
            raise DataError(f"layer {layer!r} has no feature maps: choose one of {', '.join(layer_names(predictor))}")
        chosen_scores = scores[torch.arange(len(images)), torch.tensor(classes, device=scores.device)].sum()
        (gradient,) = torch.autograd.grad(chosen_scores, [outputs[layer]])
    return outputs[layer].detach(), gradient


def layer_names(network: NetworkLike) -> list[str]:
    """Return the names of the layers, blocks and transitions with feature maps, from the image to the classifier.

    >>> from densenet_core import create_model
    >>> layer_names(create_model("densenet-bc-16-4"))[:3]
    ['features.conv0', 'features.denseblock1', 'features.denseblock1.denselayer1']
    """
    predictor = as_predictor(network)
    depth = 3 if isinstance(predictor.model, DenseNet) else 2
    return [
        name
        for name, module in predictor.model.named_modules()
        if _is_stage(name, module, depth) or name.rpartition(".")[2] in ("conv0", "norm5")
    ]


def _is_stage(name: str, module: nn.Module, depth: int) -> bool:
    """Return whether a module is a layer of a stage, a stage or a transition."""
    places = name.split(".")
    own = places[-1].rstrip("0123456789")
    if own in ("denseblock", "transition", "denselayer"):
        return True
    return depth == 2 and places[0].rstrip("0123456789") in ("layer", "stage", "block") and len(places) <= depth


def resize_maps(maps: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Resize maps (N, h, w) to ``size`` pixels a side, or (height, width), bilinear, to be laid over images.

    >>> resize_maps(torch.ones(1, 2, 2), 8).shape
    torch.Size([1, 8, 8])
    """
    sides = (size, size) if isinstance(size, int) else size
    return nn.functional.interpolate(maps[:, None], size=sides, mode="bilinear", align_corners=False)[:, 0]
