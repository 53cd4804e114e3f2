"""Third-party packages that ship unmodified inside this one."""
