"""Pure builders of a LoadTest's children, and of the load plan that its runner gets."""
