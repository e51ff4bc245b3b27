"""Body of a server-side apply: JSON that a YAML reader takes for the same text."""

import json
import re

from diffusion_operator.kube.objects import Object

# YAML reads none of these characters as they are: it refuses control characters, and takes NEL, LS
# and PS for line breaks. Two surrogates would be two escapes, which YAML refuses, so characters
# beyond U+FFFF stay as they are.
_UNREADABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def apply_body(obj: Object) -> bytes:
    """JSON of the object as UTF-8, for the content type ``application/apply-patch+yaml``.

    The API server reads the body as YAML, where JSON's two escapes of a character beyond U+FFFF (an
    emoji, say) are an error. A lone surrogate, which is no text, becomes U+FFFD.
    """
    text = _SURROGATE.sub("\ufffd", json.dumps(obj, ensure_ascii=False, separators=(",", ":")))
    return _UNREADABLE.sub(lambda each: f"\\u{ord(each[0]):04x}", text).encode()
