"""Stands in for TensorRT-LLM where it cannot be installed.

Names and arguments are those of `signatures.json`; anything else is refused, as the package does.
The model is transformers' own on the CPU, so texts can be compared with the other backends. What
is copied of TensorRT-LLM's behaviour, because mistakes of a caller would show in it:

- a film's placeholder stands once in the prompt, and the model's processor multiplies it;
- release 1.2 takes no visual tokens; 1.3 takes them without their grid and guesses it;
- keys and values are shared among requests with equal prompt and salt: a caller that gives two
  films of one size the same salt gets the first film's answer for both;
- at most `max_batch_size` requests run, the others wait;
- `token_ids` are cumulative, and `abort` ends a request.

`install` in `install.py` beside this package chooses the release.
"""

from . import arguments
from .llm import LLM
from .sampling_params import SamplingParams

__all__ = ["LLM", "SamplingParams", "__version__"]
__version__ = arguments.RELEASE
