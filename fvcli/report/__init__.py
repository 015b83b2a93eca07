"""A dataset as one HTML file that needs nothing else: facts gathered in Python, drawn by a script in the page."""
