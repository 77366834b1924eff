"""What the commands print: tables and lines made of values."""
