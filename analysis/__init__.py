"""Measures of trained networks as tidy tables, and their figures."""

import lazy_loader

# A name is imported when it is asked for: most uses need little of the package, and torch takes seconds.
# What there is, the stub beside this file says, to people and type checkers alike.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
