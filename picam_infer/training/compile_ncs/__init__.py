"""Getting a model onto a Movidius stick: Keras → a TensorFlow 1.x graph → NCSDK's compiler → `graph` in the bundle."""
