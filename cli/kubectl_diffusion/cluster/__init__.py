"""The cluster that the plugin reads, with the caller's own rights."""
