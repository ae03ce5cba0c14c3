"""spapr-rig: judge a real ``qemu-system-ppc64 -M pseries`` against a reference model."""

__version__ = "0.1.0"
