"""Expansion of variables: text that the kubelet hands to a container to the letter."""

import re

# The kubelet takes $$ for $, and $(NAME) for the value of a variable; any other $ stays.
_EXPANDED = re.compile(r"\$(?=[$(])")


def unexpanded(text: str) -> str:
    """Text for a variable's ``value`` or for ``args`` whose container reads ``text``.

    Text without ``$$`` and ``$(`` stays as it is, so that no pod restarts for it.
    """
    return _EXPANDED.sub("$$", text)
