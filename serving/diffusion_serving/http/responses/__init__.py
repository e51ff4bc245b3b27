"""Responses: whole replies, problem documents, event streams and image files."""
