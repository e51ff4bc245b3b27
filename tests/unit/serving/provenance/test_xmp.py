"""The XMP packet of generated pictures, and the source types of others."""

import pytest

from diffusion_serving.provenance.xmp import GENERATED, PACKET, digital_source_type

URI = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
HEAD = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<r:Description xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" r:about=""'
)
TAIL = "</r:RDF></x:xmpmeta>"


def test_the_packet_says_in_iptcs_words_that_a_model_made_the_picture() -> None:
    assert GENERATED == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert digital_source_type(PACKET) == GENERATED


@pytest.mark.parametrize(
    ("rest", "shown"),
    [
        (f' i:DigitalSourceType="{URI}"/>', URI),
        (f"><i:DigitalSourceType>\n {URI} </i:DigitalSourceType></r:Description>", URI),
        (f'><i:DigitalSourceType r:resource="{URI}"/></r:Description>', URI),
        ("><i:DigitalSourceType/></r:Description>", None),
        (' i:Event="DigitalSourceType"/>', None),
    ],
)
def test_each_way_of_writing_the_property_is_read(rest: str, shown: str | None) -> None:
    assert digital_source_type((HEAD + rest + TAIL).encode()) == shown


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"\xff\xfe<\0", "not UTF-8"),
        (b"<x", "not XML"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "document type"),
    ],
)
def test_a_packet_that_is_no_xmp_is_refused(packet: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        digital_source_type(packet)
