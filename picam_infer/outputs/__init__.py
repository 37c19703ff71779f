"""What others get to see: displays, the page, events, collected pictures."""
