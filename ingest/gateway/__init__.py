"""The HTTP gateway: reports of players, boxes and back ends in, lines of the usage log out."""
