"""Stage 2: a tokenizer with one token per word, and a CLIP text encoder for its words."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import torch
from tokenizers.pre_tokenizers import ByteLevel
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from demo_model.shapes import (
    COLOURS,
    COUNT_WORDS,
    COUNTS,
    OPENINGS,
    PLURALS,
    SHAPES,
    Subject,
    caption,
    training_subjects,
)
from demo_model.train.common import Progress, numpy_generator

LENGTH: Final = 32
"""Tokens per prompt: the longest caption has 13; an unknown word takes one per letter."""
WIDTH: Final = 64

_BATCH = 64
_LEARNING_RATE = 2e-3
# Every caption ends before this position, so that the encoder must summarize the caption there.
_SUMMARY_POSITION = 14


def to_tokens(tokenizer: CLIPTokenizer, prompts: list[str]) -> torch.Tensor:
    """N x LENGTH token numbers, with the pipeline's padding."""
    ids: torch.Tensor = tokenizer(
        prompts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
    ).input_ids
    return ids


def words() -> list[str]:
    """The vocabulary, sorted."""
    openings = {word for opening in OPENINGS for word in opening.split()}
    return sorted(
        {*COLOURS, *PLURALS, *PLURALS.values(), *COUNT_WORDS, *openings, "on", "background"}
    )


def new_tokenizer() -> CLIPTokenizer:
    """CLIP's byte-level pair encoding; its merges make each word of the vocabulary one token."""
    alphabet = sorted(ByteLevel.alphabet())
    merges: list[tuple[str, str]] = []
    for word in words():
        symbols = _apply(merges, [*word[:-1], f"{word[-1]}</w>"])
        while len(symbols) > 1:
            merges.append((symbols[0], symbols[1]))
            symbols[:2] = [symbols[0] + symbols[1]]
    tokens = dict.fromkeys(
        [*alphabet, *(f"{c}</w>" for c in alphabet), *(a + b for a, b in merges)]
    )
    vocabulary = {token: i for i, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    tokenizer = CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,  # type: ignore[arg-type]  # the annotation is wrong: pairs are right
        model_max_length=LENGTH,
    )
    with_ends = 3
    for word in words():
        if len(tokenizer(word).input_ids) != with_ends:
            raise RuntimeError(f"{word!r} is more than one token")
    return tokenizer


def _apply(merges: list[tuple[str, str]], symbols: list[str]) -> list[str]:
    """Merges `symbols` in the finished tokenizer's order: the earliest merge first."""
    rank = {pair: i for i, pair in enumerate(merges)}
    while True:
        possible = [(rank[p], i) for i, p in enumerate(pairwise(symbols)) if p in rank]
        if not possible:
            return symbols
        _, i = min(possible)
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]


def new_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained encoder of 0.1 million weights."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_attention_heads=4,
        num_hidden_layers=2,
        max_position_embeddings=LENGTH,
    )
    encoder = CLIPTextModel(config)
    # CLIP's own initial deviation, 0.02, is so small that training would take millions of captions.
    for parameter in encoder.get_input_embeddings().parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder


def attributes(subjects: list[Subject]) -> torch.Tensor:
    """N x 4 class numbers: count, shape, colour, background."""
    colours = list(COLOURS)
    return torch.tensor(
        [
            (
                COUNTS.index(s.count),
                SHAPES.index(s.shape),
                colours.index(s.colour),
                colours.index(s.background),
            )
            for s in subjects
        ]
    )


def train_encoder(encoder: CLIPTextModel, tokenizer: CLIPTokenizer, steps: int) -> None:
    """Trains the encoder to recognize count, shape and colours, before the U-Net needs them."""
    rng = numpy_generator()
    heads = torch.nn.ModuleList(
        torch.nn.Linear(WIDTH, n) for n in (len(COUNTS), len(SHAPES), len(COLOURS), len(COLOURS))
    )
    optimiser = torch.optim.AdamW([*encoder.parameters(), *heads.parameters()], lr=_LEARNING_RATE)
    pool = training_subjects()
    progress = Progress("text", steps, every=100)
    for step in range(steps):
        subjects = [pool[i] for i in rng.integers(len(pool), size=_BATCH)]
        ids = to_tokens(tokenizer, [caption(subject, rng) for subject in subjects])
        summary = encoder(ids).last_hidden_state[:, _SUMMARY_POSITION]
        classes = attributes(subjects)
        losses = [
            functional.cross_entropy(head(summary), classes[:, i]) for i, head in enumerate(heads)
        ]
        loss = torch.stack(losses).sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        progress.step(step + 1, loss.item())
