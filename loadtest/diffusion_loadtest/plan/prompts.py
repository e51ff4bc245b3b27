"""The prompts of a test, which never reach a log, the progress or the report."""

from itertools import product
from pathlib import Path

from diffusion_loadtest.plan.load_plan import Prompts
from diffusion_loadtest.plan.reader import PlanError

_SUBJECTS = (
    "a red bicycle leaning against a brick wall",
    "a lighthouse on a cliff in a storm",
    "a bowl of oranges on a wooden table",
    "a sleeping cat on a windowsill",
    "a mountain lake at sunrise",
    "an old steam train crossing a bridge",
    "a market street after the rain",
    "a small house in a snowy forest",
    "a sailing boat on calm water",
    "a portrait of an elderly fisherman",
    "a field of sunflowers under a blue sky",
    "a robot watering plants in a greenhouse",
    "a castle on a hill in morning fog",
    "a cup of coffee beside an open book",
    "a fox walking through autumn leaves",
    "a city skyline at night",
    "a hot air balloon above a desert",
    "a tropical fish in a coral reef",
    "a violin on a velvet chair",
    "a windmill beside a canal",
    "an astronaut sitting on a beach",
    "a waterfall in a deep green valley",
    "a vintage car on a country road",
    "an owl on a branch under the full moon",
    "a library with tall shelves and a ladder",
    "a glass vase with white tulips",
)
_STYLES = (
    "photograph with soft natural light",
    "oil painting with visible brush strokes",
    "watercolour on rough paper",
    "pencil sketch with fine shading",
    "flat vector illustration in three colours",
    "wide shot with a shallow depth of field",
    "woodcut print in black and white",
    "pastel drawing in muted tones",
    "detailed digital art with dramatic light",
)

BUILT_IN: tuple[str, ...] = tuple(
    f"{subject}, {style}" for subject, style in product(_SUBJECTS, _STYLES)
)
"""Every subject in every style: scenes that any text-to-image model can draw."""


def prompts_of(chosen: Prompts) -> tuple[str, ...]:
    """The prompts of the plan; raises PlanError if the plan's file has none."""
    if chosen.inline is not None:
        return chosen.inline
    if chosen.file is None:
        return BUILT_IN
    try:
        lines = Path(chosen.file).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"The prompts in {chosen.file} cannot be read: {error}.") from None
    prompts = tuple(line.strip() for line in lines if line.strip())
    if not prompts:
        raise PlanError(f"The file {chosen.file} holds no prompt: write one a line.")
    return prompts
