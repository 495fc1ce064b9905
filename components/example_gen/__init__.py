"""Data sources (`sources`), and the ExampleGen that writes their examples (`image_example_gen`)."""
