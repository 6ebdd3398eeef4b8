"""Which family and how many components: criteria, and fits of all candidates."""
