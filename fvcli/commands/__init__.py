"""One module for each group of commands; they import what they run only when they run."""
