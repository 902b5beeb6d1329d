"""The Python that makes what the page shows: whole scripts, which run as they are."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import TYPE_CHECKING, Any

from app.dashboard.views.prediction.images import ChosenImage
from app.dashboard.widgets.handover import Code, user_name
from app.dashboard.widgets.scripts import Imports, joined, script

if TYPE_CHECKING:
    from app.dashboard.keys import ImagesKey, NetworkKey
    from app.dashboard.views.prediction.overview import Shown

EXPORT = "analysis.figures.export"
IMAGE_FILES = "analysis.prediction.image_files"


def image_code(shown: Shown, imports: Imports, lines: Sequence[str], command: str | None = None) -> Code:
    """Return code about the chosen image: it opens ``network`` and the image as ``seen``, then come the lines."""
    more, opening = _opening(shown.chosen)
    return script(shown.key, joined(more, imports), [*opening, *lines], command)


def explanation_code(shown: Shown, imports: Imports, lines: Sequence[str], command: str | None = None) -> Code:
    """Return code about the explanation of the image, which it opens as ``found``."""
    given = {"for_class": shown.found.for_class, "against": shown.found.against}
    options = "".join(f", {name}={value}" for name, value in given.items() if value is not None)
    on_names, names = names_code(shown)
    more = joined(on_names, {"analysis.prediction.explain": "explain_image"})
    opening = [f"names = {names}", f"found = explain_image(network, seen, names{options})"]
    return image_code(shown, joined(more, imports), [*opening, *lines], command)


def names_code(shown: Shown) -> tuple[Imports, str]:
    """Return imports and an expression for the names of the classes, in code that opens the image."""
    if shown.chosen.images is None:
        file = f", {shown.chosen.names_file!r}" if shown.chosen.class_names else ""
        return {IMAGE_FILES: "class_names"}, f"class_names(network{file})"
    return {}, "test.class_names"


def dataset_code(key: NetworkKey, images: ImagesKey, imports: Imports, lines: Sequence[str]) -> Code:
    """Return code about a data set: it opens ``network`` and the test images as ``test``, then come the lines."""
    load = {"densenet_core.data.datasets": "load_test_images"}
    return script(key, joined(load, imports), [_load_test(images), *lines])


def explain_command(shown: Shown) -> str | None:
    """Return the command line that explains the image; None where it opens no such network or image."""
    key, found = shown.key, shown.found
    if shown.chosen.images is not None or key.origin == "pretrained" or shown.dims != 2:
        return None
    words = ["densenet-lens", "explain", user_name(key), shown.chosen.name]
    words += ["--class", _class_word(shown.titles, found.for_class)]
    words += [] if found.against is None else ["--against", _class_word(shown.titles, found.against)]
    words += ["--names", shown.chosen.names_file] if shown.chosen.class_names else []
    words += [word for name, value in key.reading.items() for word in (f"--{name}", value)]
    return " ".join(quote(word) for word in [*words, "--figure", "prediction.pdf", "--table", "prediction.csv"])


def _class_word(titles: Sequence[str], number: int) -> str:
    """Return the name of a class, or its number where an earlier class has the same name."""
    return titles[number] if titles.index(titles[number]) == number else str(number)


def drawn(shown: Shown, values: str) -> tuple[Imports, str]:
    """Return what a picture shows of an expression's maps: all of them, a slice of a volume, a strip of a signal."""
    if shown.dims == 2:
        return {}, values
    name = "slice_at" if shown.dims == 3 else "strip_of"
    options = f", {shown.position:.6g}" if shown.dims == 3 else ""
    return {"analysis.prediction.volumes": name}, f"{name}({values}{options})"


def picture_code(shown: Shown, name: str, picture: str, values: str, imports: Imports, **options: Any) -> Code:
    """Return code that saves a picture of maps and their values, both of the explanation ``found``.

    Args:
        picture: the function that draws it, from its values, which may be called ``values``.
        values: an expression.
        options: further arguments of the function.
    """
    more, shown_values = drawn(shown, values)
    rest = "".join(f", {option}={value!r}" for option, value in options.items())
    on, pixels = drawn(shown, "seen.pixels") if picture == "overlay" else ({}, "")
    given = f"{pixels}, values" if picture == "overlay" else "values"
    own = {"analysis.figures.prediction.style": picture, EXPORT: "save_picture"}
    lines = [f"values = {shown_values}", f'save_picture({picture}({given}{rest}), "{name}.png", values)']
    return explanation_code(shown, joined(own, imports, more, on), lines)


def _opening(chosen: ChosenImage) -> tuple[Imports, list[str]]:
    """Return imports and lines that open the image as ``seen``."""
    images = chosen.images
    if images is None and chosen.name.endswith(".npy"):
        imports: Imports = {"pathlib": "Path", "analysis.prediction.volumes": "open_volume"}
        return imports, [f"seen = open_volume(Path({chosen.name!r}).read_bytes(), network)"]
    if images is None:
        return {IMAGE_FILES: "open_image, prepare_image"}, [
            f"seen = prepare_image(open_image({chosen.name!r}), network)"
        ]
    imports = {"densenet_core.data.datasets": "load_test_images", "densenet_core.data.images": "sample_evenly"}
    row = f"seen = prepare_dataset_image(sample_evenly(test, {images.number}), {chosen.row})"
    return imports | {IMAGE_FILES: "prepare_dataset_image"}, [_load_test(images), row]


def _load_test(images: ImagesKey) -> str:
    return f"test = load_test_images({images.dataset!r}, {images.root!r}, {images.normalize!r})"
