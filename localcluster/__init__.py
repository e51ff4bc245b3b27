"""A real Kubernetes for people and CI without one: `python3 -m localcluster --help`.

Only the standard library is imported, so that it runs before any virtual environment exists.
"""
