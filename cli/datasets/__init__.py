"""Data sets of movies and ratings, read from files into one form."""
