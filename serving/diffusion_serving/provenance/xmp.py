"""XMP packets: the mark of a generated picture, and the mark of any picture.

The property is IPTC's Digital Source Type:
https://iptc.org/std/photometadata/specification/IPTC-PhotoMetadata#digital-source-type
"""

from xml.etree import ElementTree as ET

_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = f"{_VOCABULARY}trainedAlgorithmicMedia"
"""The source type of a picture that a trained model made."""
GENERATED_TYPES = frozenset(
    {
        GENERATED,
        f"{_VOCABULARY}compositeWithTrainedAlgorithmicMedia",
        f"{_VOCABULARY}compositeSynthetic",
    }
)
"""Source types of pictures that a trained model made, wholly or in part."""

_NAMESPACE = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_PROPERTY = f"{{{_NAMESPACE}}}DigitalSourceType"
_RESOURCE = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}resource"

PACKET: bytes = (
    # The attribute `begin` is U+FEFF, by which readers recognise the encoding.
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    f'<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="{_NAMESPACE}" '
    f'Iptc4xmpExt:DigitalSourceType="{GENERATED}"/>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
).encode()
"""The packet of every picture of this program. Nothing in it depends on the request."""


def digital_source_type(packet: bytes) -> str | None:
    """Returns the digital source type of a packet; None if it has none.

    Raises:
        ValueError: the packet is no XMP in UTF-8.

    """
    try:
        text = packet.decode()
    except UnicodeDecodeError:
        raise ValueError("its XMP is not UTF-8") from None
    if "<!DOCTYPE" in text:  # entities, which only a document type declares, can be made to explode
        raise ValueError("its XMP has a document type, which XMP forbids")
    try:
        root = ET.fromstring(text.rstrip("\0"))  # noqa: S314 - without declarations
    except ET.ParseError:
        raise ValueError("its XMP is not XML") from None
    for element in root.iter():
        if (value := element.get(_PROPERTY)) is not None:
            return value
        if element.tag == _PROPERTY:
            return element.get(_RESOURCE) or (element.text or "").strip() or None
    return None
