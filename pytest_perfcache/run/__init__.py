"""The controller's and the worker's part of one pytest session."""
