"""How long a test waits for what must come. No result depends on it: a test that waited in vain fails."""

PATIENCE_S = 150  # a machine that is busy with other work takes its time
