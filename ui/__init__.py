"""What draws the page: one file for each tab, and what they share. `app.py` puts them together."""
