"""`make bench`: speed is measured here and reported, never asserted."""
