"""Teaching: pictures and their classes → a bundle, by solving the last layer of a network that was trained before.

lda (means, one shrunken covariance, kept up to date a picture at a time) → calibration (probabilities and the limit of
what is known, by leaving one out) → head (the layers as arrays) → backbone (the network that makes features; the
bundle's graph). picture_set owns the pictures on disk, intake reads folders and archives, fitting has what follows from
the pictures alone, live_model answers while they come and go, undo takes changes back; teacher combines them all.
"""
