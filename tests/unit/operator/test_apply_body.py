"""Bodies of server-side applies, as a YAML reader takes them."""

import json

import pytest
import yaml

from diffusion_operator.kube.apply_body import apply_body
from user_text import NASTY


@pytest.mark.parametrize("text", [NASTY, *NASTY, "\ufffe", "\uffff", "\x9f", "\u2029"])
def test_yaml_and_json_read_the_text_that_was_written(text: str) -> None:
    body = apply_body({"metadata": {"annotations": {text: text}}})
    for read in (yaml.safe_load, json.loads):
        assert read(body) == {"metadata": {"annotations": {text: text}}}


def test_text_that_is_none_becomes_a_replacement_character() -> None:
    assert json.loads(apply_body({"a": "\ud83c"})) == {"a": "\ufffd"}
