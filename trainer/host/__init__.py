"""What every room needs of its machine: files, texts, processes, signals. Standard library only."""
