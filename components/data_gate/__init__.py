"""What stops a run before it trains: checks of the examples, their statistics and their labels."""
