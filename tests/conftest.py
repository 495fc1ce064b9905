"""Settings that every test shares."""

import os

# Read by TensorFlow, Keras and tfds when they are first imported, which is after this file.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# Tests must give the same results with and without an accelerator.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
