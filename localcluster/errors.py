class LocalClusterError(Exception):
    """What went wrong and what to do about it, in a sentence that is shown to the user as it is."""
