"""What a training container must import: preprocessing, the networks, the loop and the export."""

import os

# A user's keras.json may name another backend; the networks run inside TensorFlow graphs.
os.environ["KERAS_BACKEND"] = "tensorflow"
