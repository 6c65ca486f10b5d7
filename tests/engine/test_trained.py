"""The checkpoint of this repository does what it was trained for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.data.phantoms import make_phantom, phantom_seeds
from cxr_reason.engine.base import Engine, GenerationRequest, SamplingParams
from cxr_reason.engine.plan import read_budget
from cxr_reason.engine.registry import load_engine
from cxr_reason.film.radiograph import decode_radiograph
from cxr_reason.kernels.preprocess import fit_grid, preprocess
from cxr_reason.prompts import FIND_ABNORMALITIES, parse_prompt
from cxr_reason.reading.audit import audit_trace
from cxr_reason.reading.trace import Outcome, Trace, parse_trace
from cxr_reason.training.distractors import draw_distractor
from cxr_reason.training.rewards import structure_reward

# Not of the test set: that is for measuring, once. Chance gives about 0.3 on these labels.
NUM_FILMS = 24
DISPLAY = np.linspace(0.0, 1.0, 256, dtype=np.float32)  # of 8-bit pictures
LARGE_SIGNS = ("Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion", "Pneumothorax")


@pytest.fixture(scope="module")
def reader(trained_engine_dir: Path) -> Iterator[Engine]:
    with load_engine(trained_engine_dir) as engine:
        yield engine


def read(
    reader: Engine, checkpoint: Checkpoint, films: list[tuple[np.ndarray, np.ndarray]]
) -> list[Trace]:
    running = []
    for pixels, table in films:
        grid = fit_grid(*pixels.shape, read_budget(checkpoint))
        visual = reader.encode(preprocess(pixels, table, grid), (grid.height, grid.width))
        sampling = SamplingParams(max_tokens=600)
        request = GenerationRequest(parse_prompt(FIND_ABNORMALITIES), visual, sampling)
        running.append(reader.submit(request))
    texts = ["".join(event.text for event in generation) for generation in running]
    return [parse_trace(text, truncated=False) for text in texts]


def test_it_reads_phantoms(reader: Engine, trained: Checkpoint) -> None:
    phantoms = [make_phantom(seed) for seed in phantom_seeds("validation", NUM_FILMS)]
    traces = read(reader, trained, [(film.pixels, film.display_table) for film in phantoms])
    assert {trace.outcome for trace in traces} == {Outcome.COMPLETE}
    assert np.mean([structure_reward(trace.text) for trace in traces]) > 0.98
    assert np.mean([bool(audit_trace(trace)[1]) for trace in traces]) < 0.1
    right = wrong = 0
    for trace, film in zip(traces, phantoms, strict=True):
        for label in LARGE_SIGNS:
            if film.labels[label] != "uncertain":
                right += (label in trace.labels) and film.labels[label] == "present"
                wrong += (label in trace.labels) != (film.labels[label] == "present")
    assert 2 * right / (2 * right + wrong) > 0.8  # F1 over these labels


def test_it_answers_on_a_real_film(reader: Engine, trained: Checkpoint, rg1_path: Path) -> None:
    film = decode_radiograph(rg1_path.read_bytes())
    [trace] = read(reader, trained, [(film.pixels, film.display_table)])
    assert trace.outcome is Outcome.COMPLETE
    assert trace.labels


def test_it_refuses_what_is_not_a_chest_film(reader: Engine, trained: Checkpoint) -> None:
    blank = np.full((224, 224), 128, np.uint8)
    pictures = [draw_distractor(seed, 224) for seed in range(1_000_000, 1_000_011)]
    films = [(picture.astype(np.uint16), DISPLAY) for picture in [blank, *pictures]]
    traces = read(reader, trained, films)
    assert traces[0].outcome is Outcome.REFUSED
    assert sum(trace.outcome is Outcome.REFUSED for trace in traces) >= 10  # of 12


def test_it_has_its_notice(trained: Checkpoint) -> None:
    assert "Not for any use on patients" in trained.notice
    assert (trained.folder / "README.md").is_file()
    size = sum(file.stat().st_size for file in trained.folder.iterdir())
    assert size < 40e6
