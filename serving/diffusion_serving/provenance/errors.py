"""Reasons why a picture has no signature, or can't be checked. Independent of HTTP and of c2pa."""

# ruff: noqa: N818 - the classes are named after the reasons that users see


class NotAPicture(ValueError):
    """The bytes are no whole PNG, JPEG or WebP; the message is the predicate of a sentence."""


class UnusableCertificate(ValueError):
    """The certificate or its key can't be used; the message is a sentence without key material."""


class SigningFailed(Exception):
    """A picture has no signature; the message is a sentence without key material."""
