"""BERT cross-encoders on ONNX Runtime: one pair a run."""

from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from shared import models
from shared.errors import Misconfigured

_MAX_TOKENS: Final = 512
# The tokenizer holds the interpreter lock for 0.5 s per megabyte, and English has about 5 characters a token.
_MAX_CHARACTERS: Final = _MAX_TOKENS * 16


class OnnxCrossEncoder:
    """A `CrossEncoder` read from `model.onnx` and `tokenizer.json` on first use; most deployments never ask for it.

    A pair beyond 512 tokens loses the end of its longer part. The int8 model scales activations by what shares a run,
    so every pair has a run of its own.
    """

    def __init__(self, model_file: Path, tokenizer_file: Path) -> None:
        self._model_file, self._tokenizer_file = model_file, tokenizer_file

    @classmethod
    def pinned(cls, name: str, models_dir: Path) -> Self:
        """Return the encoder of a pinned model; Misconfigured when its files are not there."""
        try:
            files = models.locate(name, models_dir)
        except models.ModelError as error:
            raise Misconfigured(str(error)) from None
        return cls(files.onnx, files.tokenizer)

    def score(self, query: str, passage: str) -> float:
        """Return the logit of relevance."""
        encoding = self._tokenizer.encode(query[:_MAX_CHARACTERS], passage[:_MAX_CHARACTERS])
        inputs = {
            "input_ids": np.array([encoding.ids], dtype=np.int64),
            "attention_mask": np.ones((1, len(encoding.ids)), dtype=np.int64),
            "token_type_ids": np.array([encoding.type_ids], dtype=np.int64),
        }
        (logits,) = self._session.run(["logits"], inputs)
        return float(logits[0, 0])

    @cached_property
    def _session(self) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return ort.InferenceSession(str(self._model_file), options, providers=["CPUExecutionProvider"])

    @cached_property
    def _tokenizer(self) -> Any:
        tokenizer: Any = Tokenizer.from_file(str(self._tokenizer_file))
        tokenizer.no_padding()
        tokenizer.enable_truncation(_MAX_TOKENS)
        return tokenizer
