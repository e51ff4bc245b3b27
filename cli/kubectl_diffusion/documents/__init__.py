"""JSON documents that other programs write and the plugin reads."""
