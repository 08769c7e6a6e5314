"""A box around what was clicked on."""
