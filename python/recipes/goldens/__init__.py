"""What golden.py asks: the model that answers."""
