"""Engines in processes of their own: their links to the process that answers HTTP, both ends.

In one interpreter the device's thread and the threads that answer would take turns.
"""
