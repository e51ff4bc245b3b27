"""What is asked for: the same requests of every subject."""

import json

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
PROMPTS = [
    f"a {colour} {shape} on a {paper} background"
    for colour in COLOURS
    for shape in SHAPES
    for paper in ("white", "black", "pink")
]
"""108 of them, so that neither every text nor none is new."""

STEPS, GUIDANCE, SIDE = 4, 7.5, 128


def prompt(number: int) -> str:
    return PROMPTS[number % len(PROMPTS)]


def body(number: int) -> bytes:
    """The request with that number. The peers read the prompt and the seed."""
    return json.dumps({"prompt": prompt(number), "seed": number}).encode()
