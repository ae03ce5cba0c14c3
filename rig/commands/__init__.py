"""The commands of ``rig``, one module each; each offers ``command``."""
