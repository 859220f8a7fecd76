"""What people answer to what they are told: expected, muted until a day, or mine."""
