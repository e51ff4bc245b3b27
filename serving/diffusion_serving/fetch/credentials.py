"""Credentials from the environment, where Secrets made from files leave blanks around them."""

from collections.abc import Mapping

from diffusion_serving.observability.startup_errors import InvalidConfiguration


def credential(environ: Mapping[str, str], name: str, secret: str) -> str | None:
    """Returns a credential without the blanks around it; None if it is empty.

    `secret` names the field of the spec that holds it.

    Raises:
        InvalidConfiguration: a blank or another character inside that no header may hold.

    """
    value = environ.get(name, "").strip()
    if any(
        not character.isascii() or character <= " " or character == "\x7f" for character in value
    ):
        raise InvalidConfiguration(
            f"{name} (of {secret}) has a blank, a line break or a letter that is not ASCII inside: "
            "it is not what the provider gave. Store it again, alone on one line."
        )
    return value or None
