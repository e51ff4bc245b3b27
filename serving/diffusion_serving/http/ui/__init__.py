"""The page at /ui, on which people generate images."""
