"""A module in the launcher's own directory."""

NAME = "near"
