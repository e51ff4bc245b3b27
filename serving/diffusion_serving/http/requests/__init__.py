"""Requests for images: their fields, limits, defaults and JSON schemas, by API."""
