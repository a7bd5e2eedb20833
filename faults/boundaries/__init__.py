"""Whole passes on the real HTCondor and real clouds, killed before, after and in the midst of each of their effects."""
