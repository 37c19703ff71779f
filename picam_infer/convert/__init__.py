"""Model files of many kinds → bundles. `command` is the program, `conversion.convert` what it runs, in a child process.

container (what was given) → keras_files: dialect (configuration), hdf5 or tfjs (arrays), weights (which is whose),
network and layers/ (OpenVINO's operators), or foreign (what OpenVINO reads itself) → contract (card), labels, ir.
"""
