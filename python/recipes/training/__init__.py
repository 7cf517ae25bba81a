"""What the training recipes share; the scripts one folder up are the way in."""
