"""BGE-style sentence encoders on ONNX Runtime: one text a run, the first token's state is the vector."""

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from services.embedder.embedding import Vectors, unit_vectors

# From the model card of BAAI/bge-small-en-v1.5; passages take none.
BGE_QUERY_PREFIX: Final = "Represent this sentence for searching relevant passages: "
# The tokenizer holds the interpreter lock for 0.5 s per megabyte, and English has about 5 characters a token.
_MAX_CHARACTERS_PER_TOKEN: Final = 16
# A part of the fingerprint: change it whenever the steps below change a vector.
_RECIPE: Final = "first-token/unit-length/1"


class OnnxEmbedding:
    """An `EmbeddingModel` read from `model.onnx` and `tokenizer.json` in one folder.

    A text beyond `max_tokens` is cut; so is one beyond 16 characters per token, before it is tokenised.
    The int8 model scales activations by what shares a run, so every text has a run of its own: its vector is the
    same to the last bit whatever else is embedded. Raises FileNotFoundError when a file is missing.
    """

    passage_prefix = ""

    def __init__(self, directory: Path, *, max_tokens: int = 512, query_prefix: str = BGE_QUERY_PREFIX) -> None:
        model_file, tokenizer_file = _existing(directory / "model.onnx"), _existing(directory / "tokenizer.json")
        self.max_tokens = max_tokens
        self.query_prefix = query_prefix
        self.fingerprint = _fingerprint(directory.name, max_tokens, model_file, tokenizer_file)
        self._tokenizer: Any = Tokenizer.from_file(str(tokenizer_file))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._session = _session(model_file)
        self.dimension = int(self._session.get_outputs()[0].shape[-1])

    def embed(self, prepared: str) -> Vectors:
        """Return the unit vector of one text, shape (dimension,)."""
        encoding = self._tokenizer.encode(prepared[: self.max_tokens * _MAX_CHARACTERS_PER_TOKEN])
        input_ids = np.array([encoding.ids], dtype=np.int64)
        inputs = {
            "input_ids": input_ids,
            "attention_mask": np.ones_like(input_ids),
            "token_type_ids": np.zeros_like(input_ids),
        }
        (states,) = self._session.run(["last_hidden_state"], inputs)
        return unit_vectors(states[0, 0], (self.dimension,))


def _session(model_file: Path) -> Any:
    options = ort.SessionOptions()
    # Two threads with a run each give 1.6 to 2.2 times the throughput of one run on two cores, and `run` is safe to share.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(model_file), options, providers=["CPUExecutionProvider"])


def _fingerprint(name: str, max_tokens: int, *files: Path) -> str:
    digest = hashlib.sha256(f"{_RECIPE}/{max_tokens}".encode())
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return f"{name}:{digest.hexdigest()[:16]}"


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: put the embedding model's files there or name another folder")
    return file
