"""Texts as embeddings, of which those seen lately are kept."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

CACHE_BYTES = 64 * 1024 * 1024
"""Some 270 texts of SD 1.x in float32, or 100 of SDXL; held on the device."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """One text: a vector a token, and SDXL's one for the whole."""

    tokens: torch.Tensor
    pooled: torch.Tensor | None = None

    @property
    def bytes(self) -> int:
        return self.tokens.nbytes + (0 if self.pooled is None else self.pooled.nbytes)

    def zeros(self) -> "Embedding":
        """The same shape, saying nothing."""
        pooled = None if self.pooled is None else torch.zeros_like(self.pooled)
        return Embedding(torch.zeros_like(self.tokens), pooled)


class PromptKey(NamedTuple):
    """What an embedding depends on. A digest stands for the text: texts are kept nowhere."""

    digest: bytes
    encoder: str
    clip_skip: int | None


class EmbeddingCache:
    """The embeddings used last, up to a number of bytes. Any thread may use it."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[PromptKey, Embedding] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: PromptKey) -> Embedding | None:
        with self._lock:
            if (embedding := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
            return embedding

    def put(self, key: PromptKey, embedding: Embedding) -> None:
        """Keeps it, in place of those that were not used for longest."""
        with self._lock:
            if (replaced := self._kept.pop(key, None)) is not None:
                self._bytes -= replaced.bytes
            self._kept[key] = embedding
            self._bytes += embedding.bytes
            while self._bytes > self._max_bytes:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= dropped.bytes


class PromptEncoder:
    """A pipeline's text encoders with a cache in front of them.

    Args:
        pipe: the diffusers pipeline.
        encoder: tells these encoders and their precision from others that share the cache.
        cache: where embeddings are kept.
        clip_skip: how many of the encoder's last layers are left out.

    """

    def __init__(
        self, pipe: Any, encoder: str, cache: EmbeddingCache, clip_skip: int | None = None
    ) -> None:
        self._pipe = pipe
        self._encoder = encoder
        self._cache = cache
        self._clip_skip = clip_skip

    def encode(self, texts: Sequence[str], *, cached: bool = True) -> list[Embedding]:
        """An embedding for each text; what must be encoded is encoded in one batch.

        Args:
            texts: of any length, of which the model reads the beginning.
            cached: whether those known may be used, and new ones kept.

        """
        known: dict[str, Embedding] = {}
        for text in dict.fromkeys(texts):
            embedding = self._cache.get(self._key(text)) if cached else None
            if embedding is not None:
                known[text] = embedding
        if missing := [text for text in dict.fromkeys(texts) if text not in known]:
            for text, embedding in zip(missing, self._run(missing), strict=True):
                known[text] = embedding
                if cached:
                    self._cache.put(self._key(text), embedding)
        return [known[text] for text in texts]

    def _run(self, texts: list[str]) -> list[Embedding]:
        tokens, _, *pooled = self._pipe.encode_prompt(
            prompt=texts,
            device=self._pipe.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,  # negative prompts are encoded as texts of their own
            clip_skip=self._clip_skip,
        )
        # Copies, because a row of a tensor keeps the whole of it in memory.
        if not pooled:
            return [Embedding(row.clone()) for row in tokens]
        return [
            Embedding(row.clone(), whole.clone())
            for row, whole in zip(tokens, pooled[0], strict=True)
        ]

    def _key(self, text: str) -> PromptKey:
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
        return PromptKey(digest, self._encoder, self._clip_skip)
