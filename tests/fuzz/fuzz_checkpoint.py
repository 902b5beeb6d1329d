"""Coverage-guided fuzzing of the reader with atheris (the extra ``fuzz``): `make fuzz SECONDS=300`.

What is found is kept beside where it was started, as crash-*, and read again with `... fuzz_checkpoint crash-...`.
"""

from __future__ import annotations

import random
import sys
import tempfile
import warnings
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit(
        "atheris is not installed: pip install 'densenet-lens[fuzz]' (Linux, Python 3.11 to 3.14); without it, "
        "`python -m tests.fuzz.mutate` damages and reads files at random"
    )

with atheris.instrument_imports(include=["densenet_core", "zipfile", "json"]):
    from densenet_core import load_checkpoint
    from tests.fuzz.hostile import damaged, seeds
    from tests.fuzz.mutate import read

FILES = seeds()
FOLDER = tempfile.TemporaryDirectory(prefix="densenet-lens-fuzz-")
FILE = Path(FOLDER.name) / "file"


def one_input(content: bytes) -> None:
    """What libFuzzer calls: raises where a promise is broken."""
    FILE.write_bytes(content)
    read(FILE)


def mutated(content: bytes, most: int, seed: int) -> bytes:
    """Damage that knows the formats, in turns with libFuzzer's own."""
    if seed % 2:
        return bytes(atheris.Mutate(content, most))
    return damaged(content or FILES[seed % len(FILES)], random.Random(seed), FILES)[:most]


def main() -> None:
    """The command line: libFuzzer's own, such as -max_total_time=60."""
    warnings.simplefilter("ignore")
    sys.dont_write_bytecode = True
    corpus = Path(FOLDER.name) / "seeds"
    corpus.mkdir()
    for number, content in enumerate(FILES):
        (corpus / str(number)).write_bytes(content)
        load_checkpoint(corpus / str(number))
    options = ["-timeout=5", "-rss_limit_mb=4096", f"-max_len={max(map(len, FILES)) + 4096}"]
    given = sys.argv[1:]
    has_files = any(not argument.startswith("-") for argument in given)
    atheris.Setup(
        [sys.argv[0], *options, *given, *([] if has_files else [str(corpus)])], one_input, custom_mutator=mutated
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
