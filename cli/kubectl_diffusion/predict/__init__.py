"""The command ``predict``: an image from a service."""
