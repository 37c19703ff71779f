"""The page and what other programs read. `server.Web` is the whole; only importing that loads the web libraries."""
