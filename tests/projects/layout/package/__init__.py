"""A package of the repository."""

from .inner import NAME as NAME
