"""The load plan, and the schedule of load that follows from it."""
