# What a careful person writes: requirements first, the app's own files last.
FROM hoist-bench-warm
WORKDIR /workspace
COPY requirements.txt .
RUN python3 -m venv /env && /env/bin/pip install --quiet --requirement requirements.txt
COPY . .
ENV PATH=/env/bin:/usr/bin:/bin
