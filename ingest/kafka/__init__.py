"""Messages of the topic `usage` to usage records; see README.md."""
