"""Reading of a JSON document, with an error for the person at the terminal."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from kubectl_diffusion.terminal.errors import PluginError

R = TypeVar("R", bound=BaseModel)


def parsed(model: type[R], text: str, name: str) -> R:
    """The document in ``text``. Raises ``PluginError`` if it is no document of that name."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise PluginError(
            f"the {name} can't be read ({place}: {first['msg']}): are the "
            "plugin and the operator of the same version?"
        ) from None
