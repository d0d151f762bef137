"""Charges, signals and suspense as topics, made from the billing store by cursor."""
