# RecGauntlet on a CPU:
#   docker build -t recgauntlet --build-arg PIP_EXTRA_INDEX_URL=(an index with torch's CPU builds) .
#   docker run --rm -v "$PWD/results:/data/results" -v recgauntlet-cache:/cache recgauntlet run --track demo --out results/demo
# docs/clusters.md uses this image for jobs of Kubernetes.
FROM python:3.11-slim-bookworm

# bubblewrap: a second wall around the processes that run code of plugins, where the container may make namespaces
RUN apt-get update \
    && apt-get install --no-install-recommends --yes bubblewrap=0.8.* git=1:2.* \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/recgauntlet
COPY requirements.lock ./
# pip reads it; without it torch's default build for Linux comes, the large CUDA one
ARG PIP_EXTRA_INDEX_URL
RUN pip install --no-cache-dir -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY benchmark benchmark
COPY tasks tasks
COPY baselines baselines
COPY site/recgauntlet_site site/recgauntlet_site
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

ENV RECGAUNTLET_CACHE=/cache
RUN useradd --create-home --uid 1000 runner && mkdir -p /cache /data && chown runner /cache /data
USER 1000
WORKDIR /data
ENTRYPOINT ["recgauntlet"]
CMD ["--help"]
