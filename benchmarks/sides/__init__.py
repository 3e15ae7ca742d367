"""The sides that are compared: each kind of data that stores keep, and each way to do the operations on it."""
