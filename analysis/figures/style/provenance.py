"""The line under a figure of results: where its points come from."""

from __future__ import annotations

import pandas as pd

from analysis.figures.style.paper import plain_text


def provenance(results: pd.DataFrame) -> str:
    """Return where the points come from, published and measured ones separately, with the number of seeds."""
    parts = []
    if sources := sorted(results.loc[results["origin"] == "published", "source"].unique()):
        parts.append(f"published: {'; '.join(sources)}")
    measured = results[results["origin"] == "measured"]
    if len(measured):
        parts.append(f"measured: {_trainings(measured)}")
    return ". ".join([f"Data: {plain_text(results['dataset'].iloc[0])}", *parts])


def _trainings(measured: pd.DataFrame) -> str:
    """Return the number of seeds and epochs of measured results, and what else their notes say."""
    seeds = measured.groupby("model")["seeds"].sum().astype(int)
    several = seeds.max() > 1
    of = f"{seeds.max()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    epochs = "/".join(str(int(number)) for number in sorted(measured["epochs"].dropna().unique()))
    notes = [_about(measured, note) for note in sorted(measured["note"].dropna().unique())]
    parts = [f"{of} seed{'s' if several else ''} each, {epochs} epochs", *notes]
    return "; ".join([*parts, "bars: standard deviation"] if several else parts)


def _about(measured: pd.DataFrame, note: str) -> str:
    """Return a note, with the models that it is about unless it is about all."""
    has_note = measured["note"] == note
    return note if has_note.all() else f"{', '.join(measured.loc[has_note, 'model'].unique())}: {note}"
