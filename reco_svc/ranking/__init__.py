"""What a model says: personal scores, explanations, and what stands in when there is no history."""
