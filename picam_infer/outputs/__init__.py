"""The program's outputs: displays, the page, events, collected pictures."""
