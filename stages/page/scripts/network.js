// The trained network: forward pass.
