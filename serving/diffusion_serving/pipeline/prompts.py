"""Prompts as embeddings, with a cache of recent ones."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

CACHE_BYTES = 64 * 1024 * 1024
"""About 270 texts of SD 1.x in float32, or 100 of SDXL; held on the device."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """The embedding of a text: a vector a token, and SDXL's one for the whole."""

    tokens: torch.Tensor
    pooled: torch.Tensor | None = None

    @property
    def bytes(self) -> int:
        return self.tokens.nbytes + (0 if self.pooled is None else self.pooled.nbytes)

    def zeros(self) -> "Embedding":
        """Returns an embedding of the same shape, all zeros."""
        pooled = None if self.pooled is None else torch.zeros_like(self.pooled)
        return Embedding(torch.zeros_like(self.tokens), pooled)


class PromptKey(NamedTuple):
    """The key of an embedding. A digest stands for the text, which is never stored."""

    digest: bytes
    encoder: str
    clip_skip: int | None


class EmbeddingCache:
    """A cache of the embeddings used last, up to a number of bytes. Any thread may use it."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._cached: OrderedDict[PromptKey, Embedding] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: PromptKey) -> Embedding | None:
        with self._lock:
            if (embedding := self._cached.get(key)) is not None:
                self._cached.move_to_end(key)
            return embedding

    def put(self, key: PromptKey, embedding: Embedding) -> None:
        """Caches an embedding, in place of those that were unused for longest."""
        with self._lock:
            if (replaced := self._cached.pop(key, None)) is not None:
                self._bytes -= replaced.bytes
            self._cached[key] = embedding
            self._bytes += embedding.bytes
            while self._bytes > self._max_bytes:
                _, dropped = self._cached.popitem(last=False)
                self._bytes -= dropped.bytes


class PromptEncoder:
    """A pipeline's text encoders with a cache in front of them.

    Args:
        pipe: the diffusers pipeline.
        encoder: the name of these encoders and their precision, unique in the cache.
        cache: the cache of embeddings.
        clip_skip: the number of the encoder's last layers that are left out.

    """

    def __init__(
        self, pipe: Any, encoder: str, cache: EmbeddingCache, clip_skip: int | None = None
    ) -> None:
        self._pipe = pipe
        self._encoder = encoder
        self._cache = cache
        self._clip_skip = clip_skip

    def encode(self, texts: Sequence[str], *, cached: bool = True) -> list[Embedding]:
        """Returns an embedding for each text; uncached texts are encoded in one batch.

        Args:
            texts: of any length; the model reads the beginning.
            cached: whether the cache is read and filled.

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
