"""Data sources → one prepared data set on disk, which pretraining, SFT and GRPO read.

    python -m cxr_reason.training.prepare phantoms --films 40000 --output data/phantoms
    python -m cxr_reason.training.prepare nih FOLDER --output data/nih

A prepared data set is a folder of Hugging Face `datasets` (Arrow): one row a film, the picture at
the size that the model sees. Nothing of a source's test split can get into it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from datasets import Dataset, Features, Image, List, Value, concatenate_datasets

from cxr_reason.errors import BadRequestError, DataError
from cxr_reason.findings import LABELS
from cxr_reason.kernels.preprocess import PixelBudget
from cxr_reason.radiograph import decode_radiograph
from cxr_reason.trace import REFUSAL
from cxr_reason.training.examples import Example, load_nih_subset, load_refusals
from cxr_reason.training.films import Picture, render_film
from cxr_reason.training.phantoms import Phantom, PhantomSplit, generate_many, phantom_seeds
from cxr_reason.training.setup import errors_as_messages
from cxr_reason.training.traces import Facts, facts_of_example, facts_of_phantom

UNKNOWN, ABSENT, UNCERTAIN, PRESENT = -1, 0, 1, 2
_STATES = {"absent": ABSENT, "uncertain": UNCERTAIN, "present": PRESENT}

FEATURES = Features(
    {
        "image": Image(),
        # One of 0 absent, 1 uncertain, 2 present, -1 unknown for each label of `findings.LABELS`.
        "states": List(Value("int8"), length=len(LABELS)),
        # left, top, right, bottom as shares of the film, and the index of the label.
        "boxes": List(List(Value("float32"), length=5)),
        # `Facts` as JSON; empty where the trace is fixed.
        "facts": Value("string"),
        "trace": Value("string"),
        "patient": Value("string"),
        "source": Value("string"),
    }
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def row_of_phantom(phantom: Phantom, budget: PixelBudget) -> dict[str, Any]:
    """Return the row of a synthetic film."""
    side = phantom.pixels.shape[0]
    boxes = [
        [*(edge / side for edge in finding.box), float(LABELS.index(label))]
        for label in LABELS
        for finding in phantom.findings_of(label)
        if finding.state == "present"
    ]
    return _row(
        render_film(phantom.pixels, phantom.display_table, budget),
        facts_of_phantom(phantom),
        boxes=boxes,
        patient=f"phantom/{phantom.seed}",
        source="phantoms",
    )


def row_of_example(example: Example, budget: PixelBudget) -> dict[str, Any]:
    """Return the row of an example with a film."""
    if example.film is None:
        raise ValueError(f"{example.origin}: has no film")
    film = decode_radiograph(example.film.read_bytes())
    boxes = [
        [
            box.left,
            box.top,
            box.left + box.width,
            box.top + box.height,
            float(LABELS.index(box.label)),
        ]
        for box in example.boxes
    ]
    return _row(
        render_film(film.pixels, film.display_table, budget),
        None if example.trace == REFUSAL else facts_of_example(example),
        trace=example.trace or "",
        boxes=boxes,
        patient=example.patient,
        source=example.source,
    )


def _row(
    picture: Picture,
    facts: Facts | None,
    *,
    boxes: list[list[float]],
    patient: str,
    source: str,
    trace: str = "",
) -> dict[str, Any]:
    states = facts.states if facts else {}
    return {
        "image": picture,
        "states": [_STATES[states[name]] if name in states else UNKNOWN for name in LABELS],
        "boxes": boxes,
        "facts": json.dumps(asdict(facts)) if facts else "",
        "trace": trace,
        "patient": patient,
        "source": source,
    }


def write_rows(rows: Iterable[dict[str, Any]], folder: Path) -> Dataset:
    """Write a prepared data set and return it."""
    with TemporaryDirectory(dir=folder.parent) as cache:
        # `rows` is read once: it has no fingerprint of its own.
        made = Dataset.from_generator(
            lambda: iter(rows), features=FEATURES, cache_dir=cache, fingerprint=folder.name
        )
        made.save_to_disk(folder)
    return load_prepared([folder])


def load_prepared(folders: Iterable[str | Path]) -> Dataset:
    """Open prepared data sets as one.

    Raises:
        DataError: A folder that is none.
    """
    parts = []
    for folder in map(Path, folders):
        if not (folder / "dataset_info.json").is_file():
            raise DataError(f"{folder.name}: not a prepared data set; make one with `prepare`")
        parts.append(Dataset.load_from_disk(folder))
    return concatenate_datasets(parts)


Output = Annotated[Path, typer.Option(help="Folder to write; must not exist.")]
MaxPixels = Annotated[int, typer.Option(help="Pixel budget of a film; nano has 224 x 224.")]


@app.command()
def phantoms(
    output: Output,
    films: Annotated[int, typer.Option(help="How many.", min=1)] = 40_000,
    start: Annotated[int, typer.Option(help="Index of the first film of the split.")] = 0,
    split: Annotated[str, typer.Option(help="train or validation.")] = "train",
    max_pixels: MaxPixels = PixelBudget.max_pixels,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 2,
) -> None:
    """Draw synthetic films, with the findings that each one has."""
    budget = PixelBudget(max_pixels=max_pixels)
    seeds = phantom_seeds(_training_split(split), films, start=start)
    made = generate_many(seeds, num_workers=workers)
    _write((row_of_phantom(film, budget) for film in made), output)


@app.command()
def nih(
    folder: Annotated[Path, typer.Argument(help="With labels.csv and jpg320.")],
    output: Output,
    split: Annotated[str, typer.Option(help="train or validation.")] = "train",
    max_pixels: MaxPixels = PixelBudget.max_pixels,
) -> None:
    """Films and labels of the subset of NIH ChestX-ray14."""
    wanted = _training_split(split)
    examples = [example for example in load_nih_subset(folder) if example.split == wanted]
    budget = PixelBudget(max_pixels=max_pixels)
    _write((row_of_example(one, budget) for one in examples), output)


@app.command()
def refusals(
    folder: Annotated[Path, typer.Argument(help="Images none of which is a chest film.")],
    output: Output,
    max_pixels: MaxPixels = PixelBudget.max_pixels,
) -> None:
    """Images that the model is to refuse."""
    examples = load_refusals(folder)
    budget = PixelBudget(max_pixels=max_pixels)
    _write((row_of_example(one, budget) for one in examples), output)


def _training_split(name: str) -> PhantomSplit:
    if name not in ("train", "validation"):
        raise BadRequestError(
            f"split {name!r}; give train or validation: test films are never trained on"
        )
    return "train" if name == "train" else "validation"


def _write(rows: Iterator[dict[str, Any]], output: Path) -> None:
    if output.exists():
        raise BadRequestError(f"{output.name}: is there already; delete it or give another folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    write_rows(rows, output)


if __name__ == "__main__":
    with errors_as_messages():
        app()
