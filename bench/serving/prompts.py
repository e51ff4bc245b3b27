"""The requests, which are the same for every subject."""

import json

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
PROMPTS = [
    f"a {colour} {shape} on a {paper} background"
    for colour in COLOURS
    for shape in SHAPES
    for paper in ("white", "black", "pink")
]
"""108 prompts: enough that some are new to a cache of texts, few enough that some repeat."""

STEPS, GUIDANCE, SIDE = 4, 7.5, 128


def prompt(number: int) -> str:
    return PROMPTS[number % len(PROMPTS)]


def body(number: int) -> bytes:
    """The body of request `number`, in the fields that the peers read: prompt and seed."""
    return json.dumps({"prompt": prompt(number), "seed": number}).encode()
