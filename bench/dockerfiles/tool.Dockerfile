# The base with a package manager in an environment of its own and its cache filled, so that a "first build" has its packages at hand.
FROM hoist-bench-base
ARG TOOL
ARG INSTALL
ENV SSL_CERT_FILE=/etc/bench/ca.pem REQUESTS_CA_BUNDLE=/etc/bench/ca.pem UV_LINK_MODE=copy POETRY_VIRTUALENVS_IN_PROJECT=1 PDM_CHECK_UPDATE=0 PIPENV_VENV_IN_PROJECT=1 PIPENV_NOSPIN=1
RUN python3 -m venv /tool && /tool/bin/pip install --quiet ${TOOL}
COPY . /warm
RUN cd /warm && sh -ec "$INSTALL" && rm -rf /warm
