"""Workflows and guides, walked step by step against stand-ins of the programs that they call.

The shell of each step is real, and so are Python, git and this project's programs. Actions are
played by their effects (dry_walk.actions), programs of clouds answer as their sources say
(dry_walk.programs).
"""
