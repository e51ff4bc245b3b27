"""The command ``run``: starts a test, waits for its verdict, and writes it for a pipeline."""
