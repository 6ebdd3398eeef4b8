"""Files in and out: tables of rows, and model files of named arrays under a versioned header.

This floor knows named arrays, columns and headers. What they mean is known above it.
"""
