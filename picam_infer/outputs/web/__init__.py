"""The page, and the HTTP interface for other programs. Only importing `server` loads the web libraries."""
