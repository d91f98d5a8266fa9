"""A dictionary and the evaluation activations in; sparse codes and reconstruction quality out."""
