"""What golden.py asks: the model that answers, and the tokenizer that makes ids of its texts."""
