"""The cache of texts' embeddings."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from lazily import Lazily

if TYPE_CHECKING:
    import torch

    from diffusion_serving.pipeline import prompts
else:
    torch = Lazily("torch")
    prompts = Lazily("diffusion_serving.pipeline.prompts")


def key(text: str, encoder: str = "a", clip_skip: int | None = None) -> prompts.PromptKey:
    return prompts.PromptKey(text.encode(), encoder, clip_skip)


def embedding(size: int) -> prompts.Embedding:
    """An embedding of `size` bytes."""
    return prompts.Embedding(torch.zeros(size, dtype=torch.uint8))


def kept(cache: prompts.EmbeddingCache, texts: str) -> str:
    return "".join(text for text in texts if cache.get(key(text)) is not None)


def test_the_least_recently_used_embedding_makes_room() -> None:
    cache = prompts.EmbeddingCache(max_bytes=30)
    for text in "abc":
        cache.put(key(text), embedding(10))
    assert cache.get(key("a")) is not None
    cache.put(key("d"), embedding(20))
    assert kept(cache, "abcd") == "ad"


def test_both_halves_of_an_embedding_take_room() -> None:
    cache = prompts.EmbeddingCache(max_bytes=20)
    cache.put(key("a"), embedding(10))
    whole = torch.zeros(5, dtype=torch.uint8)
    cache.put(key("b"), prompts.Embedding(torch.zeros(10, dtype=torch.uint8), whole))
    assert kept(cache, "ab") == "b"


def test_an_embedding_that_is_larger_than_the_cache_is_not_kept() -> None:
    cache = prompts.EmbeddingCache(max_bytes=9)
    cache.put(key("a"), embedding(10))
    cache.put(key("b"), embedding(9))
    assert kept(cache, "ab") == "b"


def test_an_embedding_that_is_put_again_takes_its_room_once() -> None:
    cache = prompts.EmbeddingCache(max_bytes=30)
    cache.put(key("a"), embedding(20))
    cache.put(key("a"), embedding(10))
    cache.put(key("b"), embedding(20))
    assert kept(cache, "ab") == "ab"


class Encoders:
    """Stand-in for a pipeline that records the texts it encodes."""

    device = "cpu"

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode_prompt(self, prompt: list[str], **_: Any) -> tuple[torch.Tensor, None]:
        self.encoded += prompt
        return torch.zeros(len(prompt), 2, 4), None


@pytest.mark.parametrize(
    ("text", "encoder", "clip_skip"), [("y", "a", None), ("x", "b", None), ("x", "a", 1)]
)
def test_another_text_encoder_or_clip_skip_has_an_embedding_of_its_own(
    text: str, encoder: str, clip_skip: int | None
) -> None:
    encoders, cache = Encoders(), prompts.EmbeddingCache()
    for _ in range(2):
        prompts.PromptEncoder(encoders, "a", cache).encode(["x"])
        prompts.PromptEncoder(encoders, encoder, cache, clip_skip).encode([text])
    assert encoders.encoded == ["x", text]


def test_eight_threads_at_once_leave_the_count_of_bytes_right() -> None:
    cache = prompts.EmbeddingCache(max_bytes=500)

    def use(thread: int) -> None:
        for n in range(2000):
            text = str((7 * n + thread) % 40)
            if cache.get(key(text)) is None:
                cache.put(key(text), embedding(10 + n % 30))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(use, range(8)))
    assert cache._bytes == sum(each.bytes for each in cache._cached.values())
    assert 400 < cache._bytes <= 500
