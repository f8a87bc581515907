"""What an image must do once it runs, checked from outside."""
