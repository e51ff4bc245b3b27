"""Expansion of variables, as the kubelet does it."""

import pytest

from diffusion_operator.kube.expansion import unexpanded
from expansion import expanded
from user_text import NASTY


@pytest.mark.parametrize(
    "text", [NASTY, "$$5 off", "$(HOME)", "$$(HOME)", "$$$", "$", "a$", "$$$(X)$$", "${X}", "$5"]
)
def test_a_container_reads_the_text_that_was_written(text: str) -> None:
    assert expanded(unexpanded(text)) == text


@pytest.mark.parametrize("text", ["", "$5", "${HOME}", "5 $", '{"a":"b"}'])
def test_text_that_the_kubelet_leaves_alone_stays_as_it_is(text: str) -> None:
    assert unexpanded(text) == text
