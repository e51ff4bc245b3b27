"""Expansion of variables in a container's variables and arguments, as the kubelet does it."""

import re

# k8s.io/kubernetes/third_party/forked/golang/expansion: $$ gives $, $(NAME) the variable, and any
# other $ stays.
_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expanded(text: str) -> str:
    """The text that the container gets, where every variable is defined as ``?``."""
    return _REFERENCE.sub(lambda each: "$" if each[1] is None else "?", text)
