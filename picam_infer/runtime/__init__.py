"""The running program: the supervisor, the loops, and the state that they share."""
