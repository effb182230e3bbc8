"""A module of the package."""

NAME = "package.inner"
