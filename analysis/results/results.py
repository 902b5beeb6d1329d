"""Results of networks as one tidy table: published ones, and the suite's own runs.

Each row names its origin: ``origin`` is published or measured, ``source`` the paper and table or the run. Parameters
and mult_adds are counted by this suite if it can build the network; ``params_printed`` is the number that a paper
prints. Errors are percent.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.results.rows import COLUMNS, spec_cost, to_row
from densenet_core import CheckpointError
from densenet_core.checkpoints.checkpoint import RUN_WEIGHTS, read_header
from densenet_core.checkpoints.zoo import zoo_names, zoo_path
from densenet_core.files import allowed_folders
from densenet_core.networks.names import spec_from_name
from densenet_core.training.runs.index import FileIndex

CLASSES = {"C100": 100, "C100+": 100, "ImageNet": 1000}  # 10 elsewhere
TORCHVISION_FAMILIES = {
    "densenet": "DenseNet-BC",
    "resnet": "ResNet",
    "wide_resnet": "Wide ResNet",
    "resnext": "ResNeXt",
}


@functools.cache
def published_results() -> pd.DataFrame:
    """Return other people's results: ``tabulated_results``, and what torchvision states about its own weights.

    The table is cached: copy it before you change it.

    Returns:
        The columns of ``COLUMNS``, one row per network, data set and kind of error.

    Example:
        >>> published_results()["origin"].unique().tolist()
        ['published']
    """
    return pd.concat([tabulated_results(), _with_costs(_torchvision_results())], ignore_index=True)


@functools.cache
def tabulated_results() -> pd.DataFrame:
    """Return the published results that ship as tables; unlike torchvision's, they take no import of torch.

    They are the paper's Tables 2 and 3, the ResNets that its Figure 3 compares with, the wide DenseNets of its code,
    independent reproductions, and two collections of networks. The table is cached: copy it before you change it.

    Returns:
        The columns of ``COLUMNS``, one row per network, data set and kind of error.

    Example:
        >>> "Huang et al. 2017, Table 2" in tabulated_results()["source"].tolist()
        True
    """
    sources = sorted((file for file in _folder("published").iterdir() if file.name.endswith(".csv")), key=str)
    return _with_costs(pd.concat([pd.read_csv(file) for file in sources], ignore_index=True))


def _with_costs(table: pd.DataFrame) -> pd.DataFrame:
    """Return published rows with the columns of ``COLUMNS``: counted costs where the suite can build the network."""
    table = table.assign(origin="published").rename(columns={"images_per_s_rtx3090": "images_per_s"})
    costs = pd.DataFrame(
        [_cost_of(arch, dataset) for arch, dataset in zip(table["arch"].fillna(""), table["dataset"], strict=True)],
        index=table.index,
    )
    table = table.join(costs)
    table["params"] = table["params"].fillna(table["params_printed"])
    table["mult_adds"] = table["mult_adds"].fillna(table["mult_adds_printed"])
    return table.reindex(columns=list(COLUMNS))


def measured_results(
    runs: Iterable[str | Path] | str | Path, include_zoo: bool = True, keep_in: Path | None = None
) -> pd.DataFrame:
    """Return the results of run folders, one row per run, and of the shipped networks.

    >>> measured_results([])["model"].to_list()[:1]
    ['DenseNet (L=40, k=12)']

    Args:
        runs: run folders, or one.
        keep_in: a folder for an index of many runs, from which the next call takes all that did not change.

    Returns:
        The columns of ``COLUMNS``; ``attrs["skipped"]`` lists the errors of what could not be read.
    """
    given = [runs] if isinstance(runs, str | Path) else runs
    own = {run.resolve(): run for run in map(Path, given)}  # each once
    places = [*own.values(), *(zoo_path(name) for name in zoo_names() if include_zoo)]
    rows, skipped, index = [], [], FileIndex(_index_file(keep_in) if keep_in else None)
    for place in places:
        weights = place / RUN_WEIGHTS if place.is_dir() else place
        try:
            rows.append(index.find(str(place), weights, partial(_read_row, place), _checked))
        except CheckpointError as error:
            skipped.append(str(error))
        except (KeyError, TypeError, ValueError) as error:  # a record from elsewhere
            reason = f"it has no {error}" if isinstance(error, KeyError) else error
            reason = "its entries are of other types" if isinstance(error, TypeError) else reason
            skipped.append(f"{str(place)!r} has a record that can't be used: {reason}")
    index.save()
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.attrs["skipped"] = skipped
    return table


def _index_file(folder: Path) -> Path:
    """Return the index's file; what one process may open stays apart from what another may."""
    digest = hashlib.sha256(repr(allowed_folders()).encode())
    return folder / f"results-{digest.hexdigest()[:16]}.json"


def _read_row(place: Path) -> dict[str, Any]:
    row = to_row(*read_header(place))
    return {column: value.item() if isinstance(value, np.generic) else value for column, value in row.items()}


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row; raises ValueError where an older version of the suite made it."""
    if not row.keys() <= set(COLUMNS):
        raise ValueError("it has other columns")
    return row


@functools.cache
def shipped_results() -> pd.DataFrame:
    """Return the results of the suite's own sweeps on digits and CIFAR-10 (JPEG), as ``measured_results`` does.

    The table is cached: copy it before you change it.

    >>> shipped_results()["origin"].unique().tolist()
    ['measured']
    """
    return pd.concat([pd.read_csv(file) for file in sorted(_folder("measured").glob("sweep_*.csv"))], ignore_index=True)


def mean_over_seeds(results: pd.DataFrame) -> pd.DataFrame:
    """Return runs that differ only in their seed as one row: mean error, standard deviation and number of runs."""
    one_run = [column for column in COLUMNS if column not in ("error", "spread", "seeds", "seed", "source", "hardware")]
    measured = results[results["origin"] == "measured"]
    if measured.empty:
        return results
    groups = measured.groupby(one_run, dropna=False, sort=False)
    means = groups.agg(
        error=("error", "mean"),
        spread=("error", "std"),
        seeds=("error", "size"),
        hardware=("hardware", "first"),
        source=("source", "first"),
    ).reset_index()
    means.loc[means["seeds"] > 1, "source"] = means["arch"] + ", seeds " + groups["seed"].agg(_join_seeds).to_numpy()
    parts = [part for part in (results[results["origin"] != "measured"], means) if len(part)]
    return pd.concat(parts, ignore_index=True).reindex(columns=list(COLUMNS)) if parts else results


def known_results(runs: Iterable[str | Path] = (), keep_in: Path | None = None) -> pd.DataFrame:
    """Return published and shipped results, and those of run folders, with the mean over seeds.

    A run that ships, too, counts once.

    >>> sorted(known_results()["origin"].unique())
    ['measured', 'published']

    Args:
        runs, keep_in: as in ``measured_results``.

    Returns:
        The columns of ``COLUMNS``; ``attrs["skipped"]`` lists the errors of what could not be read.
    """
    measured = measured_results(runs, keep_in=keep_in)
    own = pd.concat([shipped_results(), measured], ignore_index=True)
    facts = own[["arch", "dataset", "seed", "epochs", "hardware", "note", "source"]].assign(error=own["error"].round(9))
    table = mean_over_seeds(pd.concat([published_results(), own[~facts.duplicated()]], ignore_index=True))
    table.attrs["skipped"] = measured.attrs["skipped"]
    return table


def _join_seeds(seeds: pd.Series) -> str:
    return ", ".join(str(int(seed)) for seed in sorted(seeds))


def _folder(name: str) -> Path:
    return Path(str(files(f"analysis.results.{name}")))


def _cost_of(arch: str, dataset: str) -> dict[str, float | None]:
    if not arch:
        return {"params": None, "mult_adds": None, "activation_bytes": None}
    return spec_cost(spec_from_name(arch, CLASSES.get(dataset, 10)))


def _torchvision_results() -> pd.DataFrame:
    """Return the ImageNet errors that the installed torchvision states for its own weights; nothing is downloaded."""
    from torchvision.models import get_model_weights, list_models

    rows = []
    for family_name, family in TORCHVISION_FAMILIES.items():
        for name in list_models(include=f"{family_name}[0-9]*"):
            for weights in get_model_weights(name):
                rows += _weights_rows(name, family, weights)
    return pd.DataFrame(rows)


def _weights_rows(name: str, family: str, weights: Any) -> list[dict[str, Any]]:
    is_new = weights.name.endswith("V2") or "64x4d" in name
    common = {
        "family": family,
        "model": f"{name} ({weights.name})",
        "arch": name if family in ("DenseNet-BC", "ResNet") else None,
        "params_printed": weights.meta["num_params"],
        "mult_adds_printed": weights.meta["_ops"] * 1e9,
        "dataset": "ImageNet",
        "seeds": 1,
        "source": "torchvision, weights metadata",
        "note": "torchvision's newer recipe: longer, with more augmentation" if is_new else None,
    }
    metrics = weights.meta["_metrics"]["ImageNet-1K"]
    return [common | {"error_kind": f"top{k}_single_crop", "error": 100 - metrics[f"acc@{k}"]} for k in (1, 5)]
