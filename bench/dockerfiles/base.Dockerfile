# The Debian tree, with the machine's own certificates and index settings for pip.
FROM hoist-bench-debian
COPY ca.pem pip.conf /etc/bench/
ENV PIP_CERT=/etc/bench/ca.pem PIP_CONFIG_FILE=/etc/bench/pip.conf PIP_DISABLE_PIP_VERSION_CHECK=1
