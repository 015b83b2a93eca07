"""Measurements of fvcli. Its modules are compiled once, as an installation does, and not by each process anew."""

import os

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
