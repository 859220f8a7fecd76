"""Forgetting a person: who it is known of, what is emptied, what stays, and the certificate of it."""
