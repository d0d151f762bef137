"""Bytes in: what senders and files hold becomes columns of usage records."""
