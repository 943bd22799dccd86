"""Evolution: how the next generation is planned, and the operators that breed it."""
