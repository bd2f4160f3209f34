"""The built-in read conditions, one small file each; they use only the public contract."""
