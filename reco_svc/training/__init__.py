"""How a model is made and measured: data, split, algorithms, metrics."""
