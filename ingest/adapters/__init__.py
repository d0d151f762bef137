"""What senders really send, turned into usage records: one module a format."""
