"""Measurement of each request, and of the client itself."""
