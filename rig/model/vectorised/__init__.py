"""The memory calls for whole batches at once: what :mod:`rig.model.memop` and :mod:`rig.model.logical` say.

Here a batch is columns of numbers and guest memory is one array, so that no call costs a Python object.  The
rules for single numbers are the scalar model's own where they can be; property tests hold the two equal.
Calls that the arrays do not cover are *deferred* to the scalar model.
"""
