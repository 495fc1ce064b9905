"""Turns a data source into examples.

`spec` reads what `--dataset` says; `sources` turns it into a prepared tensorflow-datasets builder,
whatever the source; `component` is the one Beam ExampleGen over such builders.
"""
