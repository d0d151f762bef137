"""Logs of content delivery networks, as evidence of what was delivered; never charged from."""
