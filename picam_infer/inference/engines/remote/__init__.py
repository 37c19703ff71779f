"""A model server on the network as an engine: any that speaks the Open Inference Protocol, over HTTP or gRPC."""
