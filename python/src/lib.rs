//! What the executable carries of Python: the package `synapse_sdk` and the worker's native
//! module, for the environments that it makes itself.
