import time, setuptools
time.sleep(12)
setuptools.setup(name="pk", version="1", py_modules=[])
