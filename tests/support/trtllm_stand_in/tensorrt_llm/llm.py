"""The class `LLM` over transformers on the CPU."""

import asyncio
import json
import math
from pathlib import Path

import torch
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessor
from transformers.cache_utils import DynamicCache

from .arguments import RELEASE, TABLE, bind

PROMPT_KEYS = set(TABLE["prompt_keys"]["1.2.1" if RELEASE.startswith("1.2") else "1.3"])


class RequestError(RuntimeError):
    """What TensorRT-LLM raises for a request that it cannot run."""


class LLM:
    """See the package."""

    def __init__(self, **given):
        self.args = bind("LLM", given)
        folder = Path(self.args["model"])
        self._model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32
        ).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._processor = Qwen2VLImageProcessor.from_pretrained(folder)
        self._slots = asyncio.Semaphore(self.args["max_batch_size"])
        self._shared_blocks = {}
        self.is_shut_down = False

    def generate_async(self, inputs, **given):
        """Start a request."""
        values = bind("LLM.generate_async", {"inputs": inputs, **given})
        if unknown := set(inputs) - PROMPT_KEYS:
            raise NotImplementedError(f"inputs: {unknown}")
        sampling = values["sampling_params"]
        if sampling.guided_decoding is not None and not self.args["guided_decoding_backend"]:
            raise ValueError("guided_decoding_backend is not set")
        if (values["lora_request"] is not None) != self.args["enable_lora"]:
            raise ValueError("lora_request does not fit enable_lora")
        with torch.inference_mode():
            ids, embeddings, positions = self._prepare(inputs)
        if len(ids) + sampling.max_tokens > self.args["max_seq_len"]:
            raise RequestError("prompt and max_tokens exceed max_seq_len")
        key = (values["cache_salt"], tuple(ids))
        if self.args["kv_cache_config"].enable_block_reuse:
            embeddings = self._shared_blocks.setdefault(key, embeddings)
        return RequestOutput(self, ids, embeddings, positions, sampling)

    def shutdown(self):
        """Free the model."""
        self.is_shut_down = True

    def _prepare(self, inputs):
        ids = self._tokenizer(inputs["prompt"], add_special_tokens=False)["input_ids"]
        image_id = self._model.config.image_token_id
        features, grid = self._read_film(inputs)
        counts = [0 if features is None else len(features)] * ids.count(image_id)
        if len(counts) != (features is not None):
            raise ValueError("the prompt needs one placeholder for each image")
        expanded = [
            copy for index in ids for copy in [index] * (counts[0] if index == image_id else 1)
        ]
        tensor = torch.tensor([expanded])
        embeddings = self._model.get_input_embeddings()(tensor)
        if features is None:
            return expanded, embeddings, torch.arange(len(expanded)).repeat(3, 1, 1)
        is_image = tensor == image_id
        embeddings[is_image] = features.float()
        positions, _ = self._model.model.get_rope_index(
            tensor, is_image.int(), image_grid_thw=torch.tensor([[1, *grid]])
        )
        return expanded, embeddings, positions

    def _read_film(self, inputs):
        if embeddings := inputs.get("multi_modal_embeddings"):
            (features,) = embeddings["image"]
            rows = max(n for n in range(1, math.isqrt(len(features)) + 1) if len(features) % n == 0)
            return features, (2 * rows, 2 * len(features) // rows)
        if data := inputs.get("multi_modal_data"):
            (film,) = data["image"]
            batch = self._processor(film, do_rescale=False, return_tensors="pt")
            output = self._model.model.get_image_features(
                batch["pixel_values"], batch["image_grid_thw"]
            )
            return output.pooler_output[0], batch["image_grid_thw"][0, 1:].tolist()
        return None, None

    def check_guide(self, sampling):
        """Return a matcher of the structural tag, or None."""
        if sampling.guided_decoding is None:
            return None
        import xgrammar

        info = xgrammar.TokenizerInfo.from_huggingface(
            self._tokenizer,
            vocab_size=self._model.config.text_config.vocab_size,
            stop_token_ids=[sampling.end_id],
        )
        tag = json.loads(sampling.guided_decoding.structural_tag)
        compiled = xgrammar.GrammarCompiler(info).compile_structural_tag(json.dumps(tag))
        return xgrammar.GrammarMatcher(compiled)


class CompletionOutput:
    """The tokens so far."""

    def __init__(self):
        self.index = 0
        self.text = ""
        self.token_ids = []
        self.finish_reason = None
        self.stop_reason = None


class RequestOutput:
    """A request under way; iterate with `async for`."""

    def __init__(self, llm, ids, embeddings, positions, sampling):
        self._llm, self._sampling = llm, sampling
        self._inputs = (embeddings, positions)
        self.prompt_token_ids = ids
        self.outputs = [CompletionOutput()]
        self._aborted = self._finished = False

    def abort(self):
        """End the request."""
        self._aborted = True

    def aborted(self):
        """Return whether it was ended."""
        return self._aborted

    @property
    def finished(self):
        """Whether the last tokens came."""
        return self._finished

    async def __aiter__(self):
        async with self._llm._slots:
            for _ in self._steps():
                yield self
                await asyncio.sleep(0)

    @torch.inference_mode()
    def _next_logits(self, embeddings, positions, cache):
        output = self._llm._model(
            inputs_embeds=embeddings,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[0, -1].clone()

    def _steps(self):
        model, sampling, output = self._llm._model, self._sampling, self.outputs[0]
        matcher = self._llm.check_guide(sampling)
        stops = {sampling.end_id, *(sampling.stop_token_ids or [])} - {None}
        generator = torch.Generator().manual_seed(sampling.seed or 0)
        cache = DynamicCache(config=model.config.text_config)
        embeddings, positions = self._inputs
        while not self._aborted:
            logits = self._next_logits(embeddings, positions, cache)
            if matcher is not None:
                import xgrammar

                mask = xgrammar.allocate_token_bitmask(1, len(logits))
                matcher.fill_next_token_bitmask(mask)
                xgrammar.apply_token_bitmask_inplace(logits[None], mask)
            token = _choose(logits, sampling, generator)
            if matcher is not None:
                assert matcher.accept_token(token)
            output.token_ids = [*output.token_ids, token]
            if token in stops and not sampling.ignore_eos:
                output.finish_reason = "stop"
            elif len(output.token_ids) >= sampling.max_tokens:
                output.finish_reason = "length"
            self._finished = output.finish_reason is not None
            yield
            if self._finished:
                return
            with torch.inference_mode():
                embeddings = model.get_input_embeddings()(torch.tensor([[token]]))
            last = int(self._inputs[1].max()) + len(output.token_ids)
            positions = torch.full((3, 1, 1), last)


def _choose(logits, sampling, generator):
    if sampling.top_k == 1:
        return int(logits.argmax())
    weights = torch.softmax(logits / (sampling.temperature or 1.0), -1)
    return int(torch.multinomial(weights, 1, generator=generator))
