"""What runs, where it runs, and whether its result may ship."""
