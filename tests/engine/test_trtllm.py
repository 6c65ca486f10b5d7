"""The TensorRT-LLM backend against a stand-in: TensorRT-LLM itself needs an NVIDIA GPU.

The stand-in (`trtllm_stand_in/`) refuses what NVIDIA's signatures do not have, and its model is
transformers' own, so the texts are those of the `reference` backend if the film, the prompt, the
positions and the sampling reach it correctly.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.trtllm_stand_in.install import install

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.data.phantoms import make_phantom, phantom_seeds
from cxr_reason.engine.artifact import read_manifest, verify_digests
from cxr_reason.engine.base import (
    Engine,
    FinishReason,
    GenerationRequest,
    SamplingParams,
    VisualInput,
)
from cxr_reason.engine.build import is_built, plan_build, run_build
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.registry import load_engine
from cxr_reason.engine.trtllm import build_decoder
from cxr_reason.engine.trtllm import films as film_inputs
from cxr_reason.engine.trtllm.engine import TrtllmEngine
from cxr_reason.engine.trtllm.settings import TrtllmSettings
from cxr_reason.errors import (
    ArtifactError,
    BadRequestError,
    CapacityError,
    EngineError,
    GenerationError,
)
from cxr_reason.findings import LABELS
from cxr_reason.kernels.preprocess import Grid, PixelBudget, fit_grid, preprocess
from cxr_reason.kernels.preprocess.reference import patchify, unpatchify
from cxr_reason.prompts import FIND_ABNORMALITIES, parse_prompt

NUM_TOKENS = 40
ENDLESS = 3_000
STAND_IN = Path(__file__).parents[1] / "support" / "trtllm_stand_in"


@pytest.fixture
def as_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Install the stand-in as a release, for one test."""

    def use(release: str) -> None:
        monkeypatch.syspath_prepend(install(tmp_path / release, release))

    yield use
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorrt_llm"]:
        del sys.modules[name]


@pytest.fixture
def release_12(as_release: Callable[[str], None]) -> None:
    as_release("1.2.1")


def build(checkpoint: Checkpoint, folder: Path) -> Path:
    """Build an artifact for release 1.2."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(install(folder / "1.2.1", "1.2.1"))
        plan = plan_build(
            checkpoint, backend="tensorrt-llm", precision="bf16", output=folder / "engine"
        )
        run_build(plan, lambda step, part: None)
    return folder / "engine"


@pytest.fixture(scope="module")
def artifact(nano: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random nano checkpoint."""
    return build(nano, tmp_path_factory.mktemp("trtllm"))


@pytest.fixture(scope="module")
def trained_artifact(trained: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of this repository, which ends its reasoning."""
    return build(trained, tmp_path_factory.mktemp("trtllm-trained"))


@pytest.fixture(scope="module")
def oracle(artifact: Path, nano: Checkpoint) -> Iterator[Engine]:
    """Transformers in fp32 over the weights of the artifact, which were rounded to bfloat16."""
    from cxr_reason.engine.reference.engine import ReferenceEngine

    with ReferenceEngine(Checkpoint(artifact / "decoder")) as engine:
        yield engine


@pytest.fixture
def engine(release_12: None, artifact: Path) -> Iterator[TrtllmEngine]:
    engine = load_engine(artifact, EngineConfig(max_batch=2, max_queue=2))
    assert isinstance(engine, TrtllmEngine)
    with engine:
        yield engine


def ask(engine: Engine, visual: Any, prompt: str = FIND_ABNORMALITIES, **sampling: Any) -> str:
    params = SamplingParams(**{"max_tokens": NUM_TOKENS, **sampling})
    request = GenerationRequest(parse_prompt(prompt), visual, params)
    return "".join(event.text for event in engine.submit(request))


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "condition did not come true"
        time.sleep(0.01)


def make_film(grid: tuple[int, int], seed: int) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(seed)
    return random.random((grid[0] * grid[1], 196), np.float32)


def test_the_film_and_the_prompt_reach_the_model(
    engine: TrtllmEngine, oracle: Engine, films: list[Any]
) -> None:
    for patches, grid in films:
        expected = ask(oracle, oracle.encode(patches, grid))
        assert ask(engine, engine.encode(patches, grid)) == expected
    assert ask(engine, None, "Name a bone.") == ask(oracle, None, "Name a bone.")


def test_a_conversation_reaches_the_model(engine: TrtllmEngine, oracle: Engine) -> None:
    patches, grid = make_film((18, 14), 0), (18, 14)
    prompt = json.dumps(
        [
            {"role": "system", "content": "You read films."},
            {"role": "user", "content": FIND_ABNORMALITIES},
            {"role": "assistant", "content": "<think> ümlaut </think>\n<answer> Edema </answer>"},
            {"role": "user", "content": "Provide differentials."},
        ]
    )
    expected = ask(oracle, oracle.encode(patches, grid), prompt)
    assert ask(engine, engine.encode(patches, grid), prompt) == expected


def encode_for(
    engine: TrtllmEngine, oracle: Engine, film: Any, grid: tuple[int, int], release: tuple[int, int]
) -> VisualInput:
    """Encode a film as the served `vision` does; the oracle stands for the vision engine."""
    if film_inputs.goes_as_tokens(release, grid):
        return oracle.encode(film, grid)
    return VisualInput(film_inputs.pack_pixels(film), grid)


@pytest.mark.parametrize("grid", [(16, 16), (18, 14), (12, 20)])
@pytest.mark.parametrize("release", [(1, 2), (1, 3)])
def test_films_of_one_size_and_prompt_keep_apart(
    as_release: Callable[[str], None],
    artifact: Path,
    oracle: Engine,
    release: tuple[int, int],
    grid: tuple[int, int],
) -> None:
    """Blocks of equal prompts are shared unless the salt differs; positions follow the grid."""
    as_release(f"{release[0]}.{release[1]}.0")
    films = [make_film(grid, seed) for seed in range(2)]
    with load_engine(artifact, parts={"decoder"}) as engine:
        assert isinstance(engine, TrtllmEngine)
        visuals = [encode_for(engine, oracle, film, grid, release) for film in films]
        texts = [ask(engine, visual) for visual in visuals * 2]
    expected = [ask(oracle, oracle.encode(film, grid)) for film in films]
    assert len(set(expected)) == 2
    if visuals[0].tokens.shape[1] == film_inputs.PIXEL_ROW:
        assert texts == expected * 2
    else:
        # Visual tokens are rounded to bfloat16 on their way, so only the start must agree.
        assert texts[:2] == texts[2:]
        assert texts[0] != texts[1]
        assert [text[:8] for text in texts[:2]] == [text[:8] for text in expected]


@pytest.mark.parametrize(
    ("release", "grid", "expected"),
    [
        ((1, 2), (34, 34), False),
        ((1, 3), (34, 34), True),
        ((1, 3), (30, 34), True),  # 15 x 17 tokens, the pair nearest to a square
        ((1, 3), (34, 30), False),  # the same number of tokens, taller than wide
        ((1, 3), (24, 40), False),  # 12 x 20 tokens would be taken for 15 x 16
        ((2, 0), (2, 2), True),
    ],
)
def test_visual_tokens_go_only_where_their_grid_is_guessed_right(
    release: tuple[int, int], grid: tuple[int, int], expected: bool
) -> None:
    assert film_inputs.goes_as_tokens(release, grid) is expected


def test_pixels_survive_the_way_through_the_models() -> None:
    grid = (6, 10)
    image = np.random.default_rng(0).random((grid[0] * 14, grid[1] * 14), np.float32)
    patches = patchify(image, Grid(*grid))
    assert np.array_equal(unpatchify(film_inputs.pack_pixels(patches), grid), image)


def test_sampling_repeats_with_its_seed(engine: TrtllmEngine) -> None:
    visual = engine.encode(make_film((10, 10), 0), (10, 10))
    settings = {"temperature": 1.0, "top_p": 0.9}
    first, again, other = (ask(engine, visual, seed=seed, **settings) for seed in (1, 1, 2))
    assert first == again != other


def test_usage_and_the_last_event(engine: TrtllmEngine) -> None:
    visual = engine.encode(make_film((8, 12), 0), (8, 12))
    params = SamplingParams(max_tokens=7)
    generation = engine.submit(GenerationRequest(parse_prompt("Hello."), visual, params))
    events = list(generation)
    assert [event.finish_reason for event in events] == [None] * 6 + [FinishReason.LENGTH]
    usage = generation.usage()
    assert (usage.visual_tokens, usage.completion_tokens) == (24, 7)
    assert usage.prompt_tokens > 24
    assert 0 < usage.time_to_first_token_s <= usage.generation_s


def test_the_context_limits_the_answer(release_12: None, artifact: Path) -> None:
    with load_engine(artifact, EngineConfig(context_length=60)) as engine:
        request = GenerationRequest(parse_prompt("Hello."), None, SamplingParams(max_tokens=4000))
        generation = engine.submit(request)
        assert [event.finish_reason for event in generation][-1] is FinishReason.LENGTH
        usage = generation.usage()
        assert usage.prompt_tokens + usage.completion_tokens == 60
        with pytest.raises(BadRequestError, match="room for 60"):
            engine.submit(GenerationRequest(parse_prompt("Hello. " * 80)))


def test_cancelling_ends_a_request_at_any_time(engine: TrtllmEngine) -> None:
    params = SamplingParams(max_tokens=ENDLESS)
    request = GenerationRequest(parse_prompt("Hello."), None, params)
    at_once = engine.submit(request)
    at_once.cancel()
    assert [event.finish_reason for event in at_once][-1] is FinishReason.CANCELLED
    running = [engine.submit(request) for _ in range(2)]
    streams = [iter(generation) for generation in running]
    for stream in streams:
        next(stream)
    waiting = engine.submit(request)
    waiting.cancel()
    assert list(waiting)[-1].finish_reason is FinishReason.CANCELLED
    running[0].cancel()
    running[0].cancel()
    assert list(streams[0])[-1].finish_reason is FinishReason.CANCELLED
    assert next(streams[1]).finish_reason is None, "another request goes on"
    running[1].cancel()
    wait_until(lambda: engine.num_active == 0)
    assert ask(engine, None, "Hello.")


def test_a_full_queue_says_so(engine: TrtllmEngine) -> None:
    request = GenerationRequest(parse_prompt("Hello."), None, SamplingParams(max_tokens=ENDLESS))
    generations = [engine.submit(request) for _ in range(4)]
    with pytest.raises(CapacityError, match="4 requests are under way"):
        engine.submit(request)
    for generation in generations:
        generation.cancel()
    wait_until(lambda: engine.num_active == 0)
    assert ask(engine, None, "Hello.")


def test_many_at_once_each_get_their_own_answer(
    release_12: None, artifact: Path, oracle: Engine
) -> None:
    cases = [(make_film((10, 10), seed), f"Question {seed}.") for seed in range(8)]
    expected = [ask(oracle, oracle.encode(film, (10, 10)), prompt) for film, prompt in cases]
    assert len(set(expected)) == 8
    with load_engine(artifact, EngineConfig(max_batch=4)) as engine, ThreadPoolExecutor(8) as pool:
        texts = pool.map(lambda case: ask(engine, engine.encode(case[0], (10, 10)), case[1]), cases)
        assert list(texts) == expected


def test_closing_ends_what_runs(release_12: None, artifact: Path) -> None:
    engine = load_engine(artifact)
    request = GenerationRequest(parse_prompt("Hello."), None, SamplingParams(max_tokens=ENDLESS))
    generation = engine.submit(request)
    stream = iter(generation)
    next(stream)
    engine.close()
    engine.close()
    assert list(stream)[-1].finish_reason is FinishReason.CANCELLED
    generation.cancel()
    with pytest.raises(CapacityError, match="shutting down"):
        engine.submit(request)


def test_a_failure_inside_tensorrt_llm_reaches_the_caller_without_content(
    engine: TrtllmEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import tensorrt_llm

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CANARY prompt")

    for name in ("_prepare", "check_guide"):  # before the stream starts, and inside it
        with monkeypatch.context() as patch:
            patch.setattr(tensorrt_llm.LLM, name, fail)
            with pytest.raises(GenerationError, match="RuntimeError") as caught:
                ask(engine, None, "Hello.")
        assert "CANARY" not in str(caught.value) + caplog.text
    assert ask(engine, None, "Hello.")
    assert engine.num_active == 0


@pytest.mark.parametrize("answer_format", ["labels", '{"enum": [[1, 2]]}'])
def test_the_answer_is_held_to_its_format(
    release_12: None, trained_artifact: Path, answer_format: str
) -> None:
    """With the real grammar engine, xgrammar, inside the stand-in."""
    film = make_phantom(phantom_seeds("validation", 1)[0])  # it refuses what is no chest film
    grid = fit_grid(*film.pixels.shape, PixelBudget(max_pixels=224**2))
    prompt = parse_prompt(FIND_ABNORMALITIES)
    with load_engine(trained_artifact) as engine:
        patches = preprocess(film.pixels, film.display_table, grid)
        visual = engine.encode(patches, (grid.height, grid.width))
        request = GenerationRequest(prompt, visual, SamplingParams(max_tokens=400), answer_format)
        text = "".join(event.text for event in engine.submit(request))
    reasoning, end, answer = text.partition("</think>")
    assert reasoning.strip(), "the reasoning is free"
    assert end, "the trained checkpoint ends its reasoning"
    body = answer.removeprefix("\n<answer> ").removesuffix(" </answer>")
    assert answer == f"\n<answer> {body} </answer>"
    if answer_format == "labels":
        assert set(body.split(", ")) <= set(LABELS)
    else:
        assert json.loads(body) == [1, 2]


@pytest.mark.parametrize(
    "answer_format", ["free", "[1]", "{", "[" * 100_000, '{"type": "no such type"}']
)
def test_an_unknown_answer_format_is_refused(engine: TrtllmEngine, answer_format: str) -> None:
    request = GenerationRequest(parse_prompt("Hello."), answer_format=answer_format)
    with pytest.raises(BadRequestError, match="answer_format"):
        engine.submit(request)


def test_settings_reach_tensorrt_llm(
    release_12: None, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorrt_llm

    seen: dict[str, Any] = {}
    real = tensorrt_llm.LLM.__init__
    monkeypatch.setattr(
        tensorrt_llm.LLM,
        "__init__",
        lambda self, **given: (seen.update(given), real(self, **given))[1],
    )
    settings = {
        "tensor_parallel_size": 2,
        "kv_cache_fraction": 0.4,
        "cuda_graphs": False,
        "lora_adapter": "/adapter",
    }
    monkeypatch.setenv("CXR_TRTLLM_CONFIG", json.dumps(settings))
    with load_engine(artifact, EngineConfig(max_batch=3)) as engine:
        assert ask(engine, None, "Hello."), "every request names the adapter"
    assert (seen["tensor_parallel_size"], seen["max_batch_size"]) == (2, 3)
    assert seen["kv_cache_config"].free_gpu_memory_fraction == 0.4
    assert seen["kv_cache_config"].enable_block_reuse is True
    assert seen["cuda_graph_config"] is None
    assert seen["lora_config"].lora_dir == ["/adapter"]


@pytest.mark.parametrize(
    "text",
    ["[]", "{", '{"x": 1}', '{"lora_rank": 0}', '{"cuda_graphs": 1}', '{"kv_cache_fraction": 0}',
     '{"kv_cache_fraction": true}', '{"tensor_parallel_size": "2"}'],
)  # fmt: skip
def test_bad_settings_are_refused(text: str) -> None:
    with pytest.raises(BadRequestError, match="CXR_TRTLLM_CONFIG"):
        TrtllmSettings.from_environment({"CXR_TRTLLM_CONFIG": text})


def test_without_the_package_the_error_says_what_to_do(artifact: Path, nano: Checkpoint) -> None:
    message = "tensorrt_llm is not installed; 1.2.1 or 1.3 is needed: run in NVIDIA's container"
    with pytest.raises(EngineError, match=message):
        load_engine(artifact)
    with pytest.raises(EngineError, match=message):
        plan_build(nano, backend="tensorrt-llm", precision="bf16", output=artifact / "x")


def test_an_old_release_is_refused(as_release: Callable[[str], None], artifact: Path) -> None:
    as_release("0.21.0")
    with pytest.raises(EngineError, match=r"tensorrt_llm 0\.21\.0 is installed; 1\.2\.1 or 1\.3"):
        load_engine(artifact)


def test_a_folder_that_tensorrt_llm_cannot_load(
    release_12: None, artifact: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(artifact, tmp_path / "engine")
    (copy / "decoder" / "model-00001.safetensors").write_bytes(b"not weights")
    from cxr_reason.engine.trtllm.engine import TrtllmEngine

    manifest = read_manifest(artifact)
    with pytest.raises(ArtifactError, match="TensorRT-LLM cannot load decoder"):
        TrtllmEngine(copy, manifest, EngineConfig(), parts=frozenset({"decoder"}))


def test_a_film_under_the_budget_is_refused(engine: TrtllmEngine) -> None:
    with pytest.raises(BadRequestError, match="at least 16384"):
        engine.encode(make_film((8, 8), 0), (8, 8))


def test_tensors_of_another_engine_are_refused(engine: TrtllmEngine) -> None:
    visual = VisualInput(np.zeros((4, 256), np.float32), (4, 4))
    with pytest.raises(BadRequestError, match=r"takes \[n, 784\]"):
        engine.submit(GenerationRequest(parse_prompt("Hello."), visual))


def test_the_manifest_lists_the_files_of_the_artifact(
    release_12: None, artifact: Path, nano: Checkpoint
) -> None:
    manifest = read_manifest(artifact)
    verify_digests(artifact, manifest)
    assert (manifest.backend, manifest.precision) == ("tensorrt-llm", "bf16")
    assert manifest.tool_versions["tensorrt_llm"] == "1.2.1"
    assert {"decoder/config.json", "decoder/model-00001.safetensors"} <= set(manifest.files)
    plan = plan_build(nano, backend="tensorrt-llm", precision="bf16", output=artifact)
    assert is_built(plan)


def test_weights_are_the_checkpoints_rounded(artifact: Path, nano: Checkpoint) -> None:
    import torch

    decoder = Checkpoint(artifact / "decoder")
    assert set(decoder.tensor_files) == set(nano.tensor_files)
    stored = {name for _, name in decoder.tensor_files.values()}
    assert {name.partition(".")[0] for name in stored} <= {"model", "visual", "lm_head"}
    for name in nano.tensor_files:
        assert torch.equal(decoder.load_tensor(name), nano.load_tensor(name).bfloat16())


@pytest.mark.parametrize("is_flat", [False, True])
def test_the_configuration_has_what_both_releases_of_transformers_read(
    nano: Checkpoint, tmp_path: Path, is_flat: bool
) -> None:
    """Flat, as NVIDIA's checkpoint and all from before transformers 4.52 have it, or nested."""
    import transformers

    copy = Path(shutil.copytree(nano.folder, tmp_path / "checkpoint"))
    if is_flat:
        fields = json.loads((copy / "config.json").read_text())
        text = fields.pop("text_config")
        rope = text.pop("rope_parameters")
        text |= {
            "rope_theta": rope["rope_theta"],
            "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
        }
        (copy / "config.json").write_text(json.dumps({**text, **fields}))
    folder = tmp_path / "decoder"
    build_decoder.write_decoder(Checkpoint(copy), folder, PixelBudget(), report=lambda part: None)
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["image_token_id"]) == ("qwen2_5_vl", 2060)
    assert isinstance(config["vision_token_id"], int)
    section = nano.text["rope_parameters"]["mrope_section"]
    assert config["text_config"]["rope_scaling"]["mrope_section"] == section  # transformers 4
    assert config["text_config"]["rope_theta"] == 1_000_000.0
    read = transformers.AutoConfig.from_pretrained(folder)  # transformers 5
    expected = transformers.AutoConfig.from_pretrained(nano.folder)
    assert expected.text_config.rope_parameters.items() <= read.text_config.rope_parameters.items()
    assert read.text_config.hidden_size == expected.text_config.hidden_size
    assert read.vision_config.fullatt_block_indexes == expected.vision_config.fullatt_block_indexes
    assert read.tie_word_embeddings is expected.tie_word_embeddings


def test_weights_are_cut_into_shards(
    nano: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_decoder, "SHARD_BYTES", 2_000_000)
    build_decoder.write_decoder(nano, tmp_path / "d", PixelBudget(), report=lambda part: None)
    files = sorted((tmp_path / "d").glob("*.safetensors"))
    assert len(files) > 2
    assert set(Checkpoint(tmp_path / "d").tensor_files) == set(nano.tensor_files)


def test_unknown_precision_names_those_of_the_backend(nano: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match="tensorrt-llm has bf16, fp8, int4-awq, nvfp4"):
        plan_build(nano, backend="tensorrt-llm", precision="int4", output=tmp_path / "x")
