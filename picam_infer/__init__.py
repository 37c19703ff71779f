"""picam-infer: a Raspberry Pi watches something through a webcam and says what it sees."""

__version__ = "0.2.0"
