// The drawing pad.
