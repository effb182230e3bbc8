"""Looking at the host, changing nothing: the launcher's code, its requirements, the hardware."""
