"""What is passed around and stored."""
