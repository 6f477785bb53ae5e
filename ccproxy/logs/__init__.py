"""What is logged, and in which form."""
