"""The ONNX Runtime backend: any machine, no GPU, no torch to run."""
