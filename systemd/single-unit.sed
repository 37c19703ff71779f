# picam-infer@NAME for the one camera that most machines have: its file is config.yaml.
s/camera %i/the camera/
s/%i\.yaml/config.yaml/
s/-%i//
