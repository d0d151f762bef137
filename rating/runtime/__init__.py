"""The runtimes and the command line: the only place that sees ingest, rating and sinks together."""
