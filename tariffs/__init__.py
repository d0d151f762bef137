"""What things cost: books, their checks, matching, prices, calendars and tax."""
