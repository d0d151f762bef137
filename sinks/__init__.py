"""Charges out: the billing store and everything projected from it."""
