"""The HTTP surface: one ASGI application, whichever framework carries it."""
