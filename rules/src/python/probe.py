import importlib.util, json, os, platform, sys, sysconfig

def version(info):
    text = "{0.major}.{0.minor}.{0.micro}".format(info)
    return text if info.releaselevel == "final" else text + info.releaselevel[0] + str(info.serial)

def library():
    names = [sysconfig.get_config_var(name) for name in ("INSTSONAME", "LDLIBRARY")]
    names += ["libpython{0}.{1}{2}".format(*sys.version_info[:2], end) for end in (".so.1.0", ".dylib")]
    where = [sysconfig.get_config_var("LIBDIR"), os.path.join(sys.base_prefix, "lib")]
    multiarch = sysconfig.get_config_var("MULTIARCH")
    where += [os.path.join(where[0], multiarch)] if multiarch and where[0] else []
    for name in names:
        if not name or name.endswith(".a"):
            continue
        for folder in [f for f in where if f] + [sysconfig.get_config_var("PYTHONFRAMEWORKPREFIX") or ""]:
            path = os.path.join(folder, name)
            if folder and os.path.isfile(path):
                return path
    return None

def pip():
    try:
        from importlib.metadata import version
        return version("pip")
    except Exception:
        return None

libc = platform.libc_ver() if sys.platform == "linux" else ("", "")
if sys.platform == "linux" and libc[0] != "glibc":
    libc = ("musl", "")
print(json.dumps({
    "executable": sys.executable,
    "version": list(sys.version_info[:3]),
    "implementation": sys.implementation.name,
    "prefix": sys.prefix,
    "base_prefix": sys.base_prefix,
    "base_executable": getattr(sys, "_base_executable", None) or sys.executable,
    "libpython": library(),
    "platform": sysconfig.get_platform().replace("-", "_").replace(".", "_") + "".join("_" + part.replace(".", "_") for part in libc if part),
    "markers": {
        "implementation_name": sys.implementation.name,
        "implementation_version": version(sys.implementation.version),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    },
    "is_virtual": sys.prefix != sys.base_prefix or os.path.isdir(os.path.join(sys.prefix, "conda-meta")),
    "site_packages": sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}),
    "pip": pip(),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
}))
