"""A classifier of rows of numbers: trained, tested, deployed."""
