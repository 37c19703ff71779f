"""From a frame to scores: preprocessing, engines, postprocessing."""
