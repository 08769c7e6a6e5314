"""Tables, summarised."""
