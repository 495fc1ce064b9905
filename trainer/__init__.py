"""What a training container imports: features, preprocessing, model, training, export."""
