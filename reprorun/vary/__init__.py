"""Changing circumstances on purpose, and finding out which of them makes a difference. Pure."""
