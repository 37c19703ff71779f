"""What leaves the program: displays, the page, events, collected pictures."""
