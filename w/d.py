import ray, time, sys, os
ray.init()
@ray.remote(runtime_env={"pip": {"packages": [os.path.abspath("pk")], "pip_install_options": ["--no-build-isolation", "--no-index"]}})
def f(): return os.getpid()
@ray.remote(runtime_env={"pip": {"packages": [os.path.abspath("pk")], "pip_install_options": ["--no-build-isolation", "--no-index"]}})
class A:
    def pid(self): return os.getpid()
print(ray.get(f.remote()))
for i in range(4):
    t=time.time(); a=A.remote(); ray.get(a.pid.remote()); print("in env", time.time()-t)
@ray.remote
class B:
    def pid(self): return os.getpid()
for i in range(4):
    t=time.time(); a=B.remote(); ray.get(a.pid.remote()); print("plain", time.time()-t)
