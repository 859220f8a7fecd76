"""What no test names, but the shop's own past makes unlikely: observed by each run, judged, and told."""
