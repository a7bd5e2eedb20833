"""What runs in the interpreter of the lab's own environment, beside OpenStack; nothing outside may import it."""
