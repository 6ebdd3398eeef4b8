# Nothing of this module is for Python: see _block.pxd.
