"""The search for hyper-parameters with keras-tuner: space, budget, trials, processes.

Every trial is a training by `trainer.loop`, on `train`, and is judged by `eval` alone.
"""
