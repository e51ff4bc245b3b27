"""A real Kubernetes for people and CI without one: `python3 -m localcluster --help`.

The package imports only the standard library, so that it runs before a virtual environment exists.
"""
