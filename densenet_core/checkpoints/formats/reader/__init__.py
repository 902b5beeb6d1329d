"""The process that opens untrusted files.

Its modules import only the standard library (and h5py for HDF5), and each other relatively: the process starts with
``python -I -S`` and imports this package as ``formats.reader``, without the rest of the project.
"""
