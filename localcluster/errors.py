class LocalClusterError(Exception):
    """An error; its message is a sentence for the user, with cause and remedy."""
