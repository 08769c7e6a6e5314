"""Files of a folder, uploaded in steps."""
