"""A pretend world in virtual time in which thousands of real passes are broken, and the laws are checked."""
