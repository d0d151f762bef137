"""One module a command. Each imports click at once and everything else when it runs."""
