"""Data sources → one prepared data set on disk, which pretraining, SFT and GRPO read.

    cxr-reason train prepare phantoms --films 40000 --output data/phantoms
    cxr-reason train prepare radiographs FOLDER --output data/nih

A prepared data set is a folder of Hugging Face `datasets` (Arrow): one row a film, the picture at
the size that the model sees. Nothing of a source's test split can get into it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cxr_reason.data.phantoms import (
    DEFAULT_PREVALENCE,
    PhantomSplit,
    generate_many,
    phantom_seeds,
)
from cxr_reason.data.releases import (
    load_refusals,
    load_release,
)
from cxr_reason.errors import BadRequestError, DataError
from cxr_reason.kernels.preprocess import PATCH_SIZE, PixelBudget, fit_grid
from cxr_reason.training.distractors import draw_distractor
from cxr_reason.training.prepared import (
    facts_of,
    row_of_example,
    row_of_phantom,
    row_of_refusal,
    write_rows,
)
from cxr_reason.training.traces import gold_answer

# Small findings are learned late: training films show them about twice as often as those of the
# other sets.
_TRAINING_PREVALENCE = DEFAULT_PREVALENCE | {
    "Atelectasis": 0.20,
    "Fracture": 0.30,
    "Lung Lesion": 0.25,
    "Pleural Other": 0.30,
    "Support Devices": 0.35,
}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Output = Annotated[Path, typer.Option(help="Folder to write; must not exist.")]
MaxPixels = Annotated[int, typer.Option(help="Pixel budget of a film; nano has 224 x 224.")]


@app.command()
def phantoms(
    output: Output,
    films: Annotated[int, typer.Option(help="Number to draw.", min=1)] = 40_000,
    start: Annotated[int, typer.Option(help="Index of the first film of the split.")] = 0,
    split: Annotated[str, typer.Option(help="train or validation.")] = "train",
    max_pixels: MaxPixels = PixelBudget.max_pixels,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 2,
) -> None:
    """Draw synthetic films, with the findings that each one has."""
    budget = PixelBudget(max_pixels=max_pixels)
    seeds = phantom_seeds(_training_split(split), films, start=start)
    prevalence = _TRAINING_PREVALENCE if split == "train" else DEFAULT_PREVALENCE
    made = generate_many(seeds, prevalence=prevalence, num_workers=workers)
    _write((row_of_phantom(film, budget) for film in made), output)


@app.command()
def radiographs(
    folder: Annotated[
        Path, typer.Argument(help="Release of NIH ChestX-ray14, CheXpert or MIMIC-CXR-JPG.")
    ],
    output: Output,
    split: Annotated[str, typer.Option(help="train or validation.")] = "train",
    max_pixels: MaxPixels = PixelBudget.max_pixels,
) -> None:
    """Read films of a public data set, with what it says about them.

    Films from which no answer follows (a disease without a label of its own) are left out and
    counted.
    """
    wanted = _training_split(split)
    budget = PixelBudget(max_pixels=max_pixels)
    examples = [one for one in load_release(folder) if one.split == wanted and one.film]
    usable = [one for one in examples if one.trace or gold_answer(facts_of(one).states)]
    if not usable:
        raise DataError(f"{folder.name}: no film of the split {wanted!r} that can be used")
    _write((row_of_example(one, budget) for one in usable), output)
    Console(stderr=True).print(f"{len(usable)} films; {len(examples) - len(usable)} left out")


@app.command()
def distractors(
    output: Output,
    pictures: Annotated[int, typer.Option(help="Number to draw.", min=1)] = 1_000,
    start: Annotated[int, typer.Option(help="First seed.", min=0)] = 0,
    max_pixels: MaxPixels = PixelBudget.max_pixels,
) -> None:
    """Draw synthetic pictures that are no chest films, to be refused."""
    grid = fit_grid(
        math.isqrt(max_pixels), math.isqrt(max_pixels), PixelBudget(max_pixels=max_pixels)
    )
    rows = (
        row_of_refusal(draw_distractor(seed, grid.height * PATCH_SIZE), f"distractor/{seed}")
        for seed in range(start, start + pictures)
    )
    _write(rows, output)


@app.command()
def refusals(
    folder: Annotated[Path, typer.Argument(help="Images, none of them a chest film.")],
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


def _write(rows: Iterable[dict[str, Any]], output: Path) -> None:
    if output.exists():
        raise BadRequestError(f"{output.name}: is there already; delete it or give another folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    write_rows(rows, output)


def main(words: list[str]) -> None:
    """Run `cxr-reason train prepare`.

    Args:
        words: What follows on the command line.
    """
    app(words, prog_name="cxr-reason train prepare")
