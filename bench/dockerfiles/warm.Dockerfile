# pip's cache filled, so that a "first build" has its packages at hand in tools that cannot mount a cache.
FROM hoist-bench-base
COPY *.txt /tmp/
RUN for list in /tmp/*.txt; do pip download --quiet --dest /tmp/wheels --requirement "$list" || exit 1; done; rm -rf /tmp/wheels /tmp/*.txt
