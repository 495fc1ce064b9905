"""What this machine has of what a run needs, and what of it is missing.

Synopsis::

    machine = examine(config)
    missing(config, machine)    # ["replicas is 2, and this machine has 1 GPU ...; ask for 1"]
"""
