"""What is made of the rules, one module per committed file."""
