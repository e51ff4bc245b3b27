"""The web frameworks that can carry requests to the engine, one module each.

Each module has one function, `serve(settings) -> int`, which returns the process's exit code.
"""
