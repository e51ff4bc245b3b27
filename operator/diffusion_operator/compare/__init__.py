"""What can be concluded from repeated figures. Pure: no cluster, no clock."""
