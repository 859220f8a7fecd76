"""The node that is compiled, as tests ask for it: here it reads nothing."""

from types import SimpleNamespace

depends_on = SimpleNamespace(nodes=[])
