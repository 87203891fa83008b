# Run inside a program that was running before steptop came (`steptop attach --pid`), between two of its own instructions, with FOLDER,
# LIBRARY and SOCKET in its namespace. Puts the hook on the modules that are there already. Where that cannot be, a line beside the socket
# says why; nothing is raised into the program.


def begin(folder, library, socket):
    import os
    import sys

    def refuse(why):
        part = os.path.join(os.path.dirname(socket), "reason.part")
        with open(part, "w") as file:
            file.write(why)
        os.rename(part, os.path.join(os.path.dirname(socket), "reason"))

    def fresh(path):
        # The library once more, as one of its own: the one that is in the program has let go of it for good.
        # Under a name that was not there before: by names libraries are known.
        with open(path, "rb") as file:
            bytes = file.read()
        copy = os.path.join(os.path.dirname(socket), "library.so")
        if not hasattr(os, "memfd_create"):
            with open(copy, "wb") as file:
                file.write(bytes)
            return copy, lambda: os.unlink(copy)
        descriptor = os.memfd_create("steptop-attach")  # folders of sockets may hold nothing that is executed
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(bytes)
        os.symlink("/proc/self/fd/%d" % descriptor, copy)

        def forget():
            os.unlink(copy)
            os.close(descriptor)

        return copy, forget

    try:
        torch = sys.modules.get("torch")
        if torch is None or "torch.nn.modules.module" not in sys.modules:
            refuse("the process has not imported PyTorch; without it there is nothing to see in a process that runs already")
            return
        import ctypes
        import importlib.util

        spec = importlib.util.spec_from_file_location("_steptop_attach", os.path.join(folder, "steptop_attach.py"))
        ours = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(ours)
        before = ours.installed(torch)
        path, forget = library, lambda: None
        if before is not None:
            if before.library.plain.steptop_attach_is_open():
                refuse("steptop is attached to the process already: leave that one with q first")
                return
            before.retire()
        if before is not None or os.environ.get("STEPTOP_ATTACH_SOCKET"):
            path, forget = fresh(library)
        try:
            ctypes.PyDLL(path).steptop_attach_socket(os.fsencode(socket))
            ours.install_late(torch, ours.Library(path))
        finally:
            forget()
    except Exception as error:
        refuse("%s: %s" % (type(error).__name__, error))


try:
    begin(FOLDER, LIBRARY, SOCKET)  # noqa: F821
except Exception:
    pass
