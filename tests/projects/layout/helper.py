"""A module beside the launcher."""

NAME = "helper"
