"""Usage to charges: sessions, pieces, counters, balances, orders and lines."""
