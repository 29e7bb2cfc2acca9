"""How fast the service is, beside what a good team would build instead: ``make bench``."""
