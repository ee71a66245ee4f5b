// Gradient descent of one neuron from any point.
