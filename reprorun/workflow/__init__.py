"""Where the pure meets the effects: each workflow reads as a list of steps."""
