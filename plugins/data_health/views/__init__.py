"""The views: each a function from a `Reading` to a dataclass, which is the JSON and what the page is made of."""
