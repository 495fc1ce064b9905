"""What a training container imports: preprocessing, the networks, the loop and the export."""

import os

from trainer.environment import settle

# Here, as every process of ours imports this package before TensorFlow, Keras and Beam.
settle(os.environ)
