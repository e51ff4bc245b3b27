"""Engine processes: engines outside of the process that answers HTTP, and the links to them.

In one interpreter the device's thread and the threads that answer would take turns.
"""
