"""The demo shop: an invented shop, played day by day into the raw tables."""
