"""The environment of an experiment: locked, fetched on the host, assembled as one tar."""
