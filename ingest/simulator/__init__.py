"""A seeded operator and its households: the usage log of an evening, and the book that fits it."""

from __future__ import annotations

from ingest.simulator.options import DEFAULT_START, Faults, Operator
from ingest.simulator.simulation import Simulation, simulate

__all__ = ["DEFAULT_START", "Faults", "Operator", "Simulation", "simulate"]
