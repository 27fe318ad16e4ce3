"""BGE-style sentence encoders on ONNX Runtime: one text a run, the first token's state is the vector."""

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


class OnnxEmbedding:
    """An `EmbeddingModel` read from `model.onnx` and `tokenizer.json` in one folder.

    A text beyond `max_tokens` is cut; so is one beyond 16 characters per token, before it is tokenised.
    The int8 model scales activations by what shares a run, so every text has a run of its own: its vector is the
    same to the last bit whatever else is embedded, and on however many cores. `fingerprint` is the caller's name for
    these files; a text that is alone is computed on `cores_alone` of them.
    """

    passage_prefix = ""

    def __init__(
        self,
        directory: Path,
        *,
        fingerprint: str,
        max_tokens: int = 512,
        query_prefix: str = BGE_QUERY_PREFIX,
        cores_alone: int = 1,
    ) -> None:
        self.fingerprint, self.max_tokens, self.query_prefix = fingerprint, max_tokens, query_prefix
        self._session = self._session_alone = _session(directory / "model.onnx", 1)
        if cores_alone > 1:
            self._session_alone = _session(directory / "model.onnx", cores_alone)
        self.dimension = int(self._session.get_outputs()[0].shape[-1])
        self._tokenizer: Any = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)

    def embed(self, prepared: str, *, alone: bool = False) -> Vectors:
        """Return the unit vector of one text, shape (dimension,)."""
        encoding = self._tokenizer.encode(prepared[: self.max_tokens * _MAX_CHARACTERS_PER_TOKEN])
        input_ids = np.array([encoding.ids], dtype=np.int64)
        inputs = {
            "input_ids": input_ids,
            "attention_mask": np.ones_like(input_ids),
            "token_type_ids": np.zeros_like(input_ids),
        }
        session = self._session_alone if alone else self._session
        (states,) = session.run(["last_hidden_state"], inputs)
        return unit_vectors(states[0, 0], (self.dimension,))


def _session(model_file: Path, cores: int) -> Any:
    options = ort.SessionOptions()
    # Threads with a run each give twice the throughput of one run over as many cores, and all of them may share this.
    options.intra_op_num_threads = cores
    options.inter_op_num_threads = 1
    # A core that waits for its part by turning in circles is taken from the services that use the vector.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(str(model_file), options, providers=["CPUExecutionProvider"])
