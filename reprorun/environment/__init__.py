"""The environment of an experiment: locked, fetched on the host, made into layers."""
