"""What codes are good for: codes and activations come in, tests of four uses go out."""
