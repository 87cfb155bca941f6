"""Which distribution has a module. Imports nothing, because the static check must start fast."""

# Import name to distribution, where they differ. Headless and binary variants, because an image has no display and no compiler.
DISTRIBUTIONS = {
    "Bio": "biopython",
    "Crypto": "pycryptodome",
    "IPython": "ipython",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyOpenSSL",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "dwave": "dwave-ocean-sdk",
    "fitz": "PyMuPDF",
    "git": "GitPython",
    "google.protobuf": "protobuf",
    "jose": "python-jose",
    "jwt": "PyJWT",
    "magic": "python-magic",
    "mqt.bench": "mqt.bench",
    "mqt.ddsim": "mqt.ddsim",
    "mqt.qcec": "mqt.qcec",
    "mqt.qmap": "mqt.qmap",
    "mpl_toolkits": "matplotlib",
    "pkg_resources": "setuptools<81",
    "planqk": "planqk-quantum",
    "planqk.commons": "planqk-commons",
    "psycopg2": "psycopg2-binary",
    "pythoncom": "pywin32",
    "qiskit_aer": "qiskit-aer",
    "qiskit_algorithms": "qiskit-algorithms",
    "qiskit_ibm_runtime": "qiskit-ibm-runtime",
    "qiskit_machine_learning": "qiskit-machine-learning",
    "qiskit_nature": "qiskit-nature",
    "qiskit_optimization": "qiskit-optimization",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "slugify": "python-slugify",
    "socks": "PySocks",
    "usb": "pyusb",
    "websocket": "websocket-client",
    "yaml": "PyYAML",
    "zmq": "pyzmq",
}


def distribution_of(module):
    """The distribution that most likely has `module`."""
    for name in (".".join(module.split(".")[:2]), module.split(".")[0]):
        if name in DISTRIBUTIONS:
            return DISTRIBUTIONS[name]
    return module.split(".")[0].replace("_", "-")
