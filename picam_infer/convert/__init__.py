"""Model files of many kinds → bundles: `conversion.convert`, run in a child process by `sandbox`.

container (what was given) → keras_files: keras_config, hdf5 or tfjs (arrays), weights (which is whose), network and
layers/ (OpenVINO's operators), or native_formats (what OpenVINO reads itself) → from the graph, whatever the file was:
outputs and ending (which output, what its numbers are), answer (with its labels), front (what the network does to its
pixels first), input_spec (the chain, with the help of metadata), trial (what is open, tried on pictures) → ir.
"""
