"""The search for hyper-parameters with keras-tuner: space, budget, trials, processes.

Every trial trains by `trainer.loop` on `train`, and only `eval` judges it.
"""
