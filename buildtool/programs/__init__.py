"""One composition root per program: the only modules that put adapters, pages and shells together."""
